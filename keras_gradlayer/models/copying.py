"""Copies of models that share nothing with the original."""

import contextlib
import tempfile
from collections.abc import Iterator

import keras

from keras_gradlayer import _checks


def copy_model(
    name: str, model: keras.layers.Layer, input_shape: tuple[int, ...]
) -> keras.layers.Layer:
    """A model of the same config and variable values as `model`, sharing none of them.

    Args:
        name: what to call the model in an error.
        model: any Keras model or layer that can be rebuilt from its config.
        input_shape: shape of one input, without the batch; `model` is built for it if it is not.

    Raises:
        ValueError: if the model's config does not rebuild it.
    """
    _checks.output_shape(model, input_shape)
    with policy_of(model):
        return _copy(name, model, input_shape)


@contextlib.contextmanager
def policy_of(model: keras.layers.Layer | None) -> Iterator[None]:
    """What is built inside gets the model's dtype policy, not the global one of today."""
    present = keras.config.dtype_policy()
    if model is not None:
        keras.config.set_dtype_policy(model.dtype_policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(present)


def _copy(name, model, input_shape):
    try:
        twin = type(model).from_config(model.get_config())
        _checks.output_shape(twin, input_shape)
        for ours, theirs in zip(twin.variables, model.variables, strict=True):
            ours.assign(theirs)
        if isinstance(model, keras.Model):
            # What layers save without listing it among their variables, as gradient layers do.
            with tempfile.TemporaryDirectory() as folder:
                model.save_weights(f"{folder}/copy.weights.h5")
                twin.load_weights(f"{folder}/copy.weights.h5")
    except Exception as e:
        raise ValueError(
            f"`{name}` must be a model that can be rebuilt from its config, since it is copied. "
            f"Received: '{model.name}' of type {type(model).__name__}, whose copy failed: {e} "
            "(Python functions in Lambda layers are copied after "
            "keras.config.enable_unsafe_deserialization().)"
        ) from e
    return twin
