"""Copies of models that share nothing with the original."""

import keras

from keras_gradlayer import _checks


def copy_model(
    name: str,
    model: keras.layers.Layer,
    input_shape: tuple[int, ...],
    condition: keras.KerasTensor | None = None,
) -> keras.layers.Layer:
    """A model of the same config and variable values as `model`, sharing none of them.

    Args:
        name: what the copy is called, also in an error.
        model: any Keras model or layer that can be rebuilt from its config.
        input_shape: shape of one input, without the batch; `model` is built for it if it is not.
        condition: what a conditional model takes besides.

    Raises:
        ValueError: if the model's config does not rebuild it.
    """
    _checks.shape_of_outputs(name, model, input_shape, condition=condition, what="inputs")
    try:
        twin = type(model).from_config(model.get_config())
        twin.dtype_policy = model.dtype_policy  # which the configs of models leave out
        _checks.output_shape(twin, input_shape, condition=condition)
        for ours, theirs in zip(twin.variables, model.variables, strict=True):
            ours.assign(theirs)
            ours.trainable = theirs.trainable
    except Exception as e:
        raise ValueError(
            f"`{name}` must be a model that can be rebuilt from its config, since it is copied. "
            f"Received: '{model.name}' of type {type(model).__name__}, whose copy failed: {e} "
            "(Python functions in Lambda layers are copied after "
            "keras.config.enable_unsafe_deserialization(). A class of your own needs get_config "
            "and keras.saving.register_keras_serializable, or FineTuner(..., copy=False).)"
        ) from e
    twin.name = name
    return twin
