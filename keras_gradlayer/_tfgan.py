"""TF-GAN's `eval` and `losses` on current versions of TensorFlow.

Importing `tensorflow_gan` itself has failed since TensorFlow 2.16, which removed `tf.estimator`.
These two subpackages do not use it; they are imported here without running the `__init__` of the
packages around them.
"""

import importlib.util
import sys
import types
import warnings

_MISSING = (
    "Classifier scores and kernel distances need the packages tensorflow-gan and tensorflow-hub: "
    "pip install 'keras-gradlayer[metrics]'"
)


def _load(*names):
    spec = importlib.util.find_spec("tensorflow_gan")
    if spec is None:
        raise ImportError(_MISSING)
    root = spec.submodule_search_locations[0]
    packages = {"tensorflow_gan": root, "tensorflow_gan.python": f"{root}/python"}
    shells = {name: types.ModuleType(name) for name in packages if name not in sys.modules}
    for name, shell in shells.items():
        shell.__path__ = [packages[name]]
    sys.modules.update(shells)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorflow-hub warns of setuptools
            return [importlib.import_module(f"tensorflow_gan.python.{name}") for name in names]
    except Exception as e:  # whatever tensorflow-hub or setuptools says
        raise ImportError(_MISSING) from e
    finally:
        for name in shells:
            del sys.modules[name]


classifier_metrics, losses = _load("eval.classifier_metrics", "losses.losses_impl")
