"""Models of Keras 2, rebuilt in Keras 3 with the same weights."""

import json
import logging
import os
import pathlib
import zipfile

import h5py
import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.models import _old_configs, _old_weights

_log = logging.getLogger(__name__)


def convert(path: str | os.PathLike) -> keras.Model:
    """The Keras 3 model that gives what the Keras 2 model in this file gave.

    Use it for models of TensorFlow up to 2.15, or of `tf_keras`: `.h5` files, folders that
    `model.save` wrote, and `.keras` files. On the command line it is `keras-gradlayer convert`.

    It rebuilds Sequential and Functional models of Keras' own layers, nested ones and shared layers
    too, and sets every weight. A SavedModel's outputs are compared with those of the original, an
    `.h5` file's with those that Keras 3 itself gets, where it can read the file. What cannot be
    converted exactly is refused: functions (`Lambda`, operations on tensors), classes that are not
    registered with `keras.saving.register_keras_serializable`, and settings and activations
    (`hard_sigmoid`) that Keras 3 does not have. Optimizers and losses stay behind, and so do
    constraints and initializers of other classes than Keras', which give no output.

    Args:
        path: the file or folder. Nothing is written to it, and no code in it runs.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: if there is no such file, it holds no model, or one that cannot be converted.

    Example:
        >>> keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)]).save(
        ...     tmp_path / "old.h5"
        ... )
        >>> convert(tmp_path / "old.h5").output_shape
        (None, 3)
    """
    _checks.path("path", path)
    path = pathlib.Path(path)
    version = keras_version(path)
    if version is None:
        raise ValueError(f"{path} {_missing(path)}")
    if version.startswith("3"):
        if path.suffix == ".keras":
            raise ValueError(f"{path} is a model of Keras {version} already. Load it as it is.")
        return keras.saving.load_model(path, compile=False)
    try:
        if version.startswith(("0", "1")):
            raise _old_configs.Refused(f"it was saved by Keras {version}. Expected Keras 2")
        source = _old_weights.open_source(path)
        root = _old_configs.build(source.config)
        source.place(root)
        _compare(path, root.layer, source.calls())
    except _old_configs.Refused as e:
        raise ValueError(
            f"{path} cannot be converted: {e}. Build the model in code with Keras 3 and set its "
            "weights (`load_weights` takes those of an .h5 file)."
        ) from e
    return root.layer


def keras_version(path: str | os.PathLike) -> str | None:
    """The version of Keras that saved the model in this file; `None` if it holds none.

    A SavedModel with the config of a Keras model is of Keras 2.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return "2" if (path / "keras_metadata.pb").is_file() else None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return None
            return json.loads(archive.read("metadata.json")).get("keras_version", "2")
    if not path.is_file() or not h5py.is_hdf5(path):
        return None
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            return None
        return _old_weights.text(file.attrs.get("keras_version", "1"))


def _missing(path):
    """What a path lacks that holds no model."""
    if not path.exists():
        return "does not exist."
    if path.is_dir():
        return (
            "is not the folder of a Keras 2 model: it has no keras_metadata.pb. Expected what "
            "`model.save(folder)` wrote; of a SavedModel without it, `.h5` of the same model."
        )
    if h5py.is_hdf5(path):
        return (
            "holds weights alone. Build the model in Keras 3, load them by "
            f"`model.load_weights({path.name!r})`, and save the model as .keras."
        )
    return "is not a model's .h5, .keras or SavedModel."


def _compare(path, model, calls):
    """Check that a model gives what the original's calls give."""
    rng = np.random.default_rng(0)
    for call in calls:
        x = [_rows(spec, rng) for spec in model.inputs]
        ours = keras.tree.flatten(model(x if len(x) > 1 else x[0], training=False))
        theirs = call(x)
        for a, b in zip(ours, theirs, strict=True):
            a, b = (keras.ops.convert_to_numpy(keras.ops.cast(y, "float64")) for y in (a, b))
            error = np.abs(a - b).max() / max(1.0, np.abs(b).max())
            half = "float16" in model.compute_dtype
            if not error < (1e-2 if half else 1e-5):
                raise _old_configs.Refused(f"the result differs from the original by {error:.2g}")
            _log.info("%s: outputs agree to %.1g.", path, error)


def _rows(spec, rng):
    shape = (3, *(d or 8 for d in spec.shape[1:]))
    if tf.as_dtype(spec.dtype).is_floating:
        return tf.constant(rng.standard_normal(shape), spec.dtype)
    return tf.constant(rng.integers(0, 2, shape), spec.dtype)
