"""What else a frozen generator and critic give without training: to compare gradient layers with.

DGflow is `kgl.refine` with a temperature.
"""

from keras_gradlayer.rivals.calibration import Calibration, calibrate
from keras_gradlayer.rivals.ddls import ddls
from keras_gradlayer.rivals.dot import dot
from keras_gradlayer.rivals.metropolis_hastings import metropolis_hastings
from keras_gradlayer.rivals.rejection_sampling import rejection_sampling

__all__ = [
    "Calibration",
    "calibrate",
    "ddls",
    "dot",
    "metropolis_hastings",
    "rejection_sampling",
]
