"""TF-GAN's `eval` and `losses` on the TensorFlow of today.

Importing `tensorflow_gan` itself fails since TensorFlow 2.16, for want of `tf.estimator`, which
neither of these two subpackages uses. They are imported here past the `__init__` of the packages
around them.
"""

import importlib.util
import sys
import types
import warnings


def _load(*names):
    root = importlib.util.find_spec("tensorflow_gan").submodule_search_locations[0]
    packages = {"tensorflow_gan": root, "tensorflow_gan.python": f"{root}/python"}
    shells = {name: types.ModuleType(name) for name in packages if name not in sys.modules}
    for name, shell in shells.items():
        shell.__path__ = [packages[name]]
    sys.modules.update(shells)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tensorflow-hub's own, about setuptools
            return [importlib.import_module(f"tensorflow_gan.python.{name}") for name in names]
    finally:
        for name in shells:
            del sys.modules[name]


classifier_metrics, losses = _load("eval.classifier_metrics", "losses.losses_impl")
