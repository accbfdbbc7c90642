"""Checks of what a user handed over: each error says what was expected and what was received."""

import math
import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer._conditions import call
from keras_gradlayer._gradients import input_gradient


def warn(message, category=UserWarning):
    """Warn at the line outside this package and Keras that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in (
        "keras_gradlayer",
        "keras",
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def positive_number(name, value, *, zero_ok=False):
    """Return `value` as a float if it is a finite number above (or at) zero."""
    ok = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or value < 0 or (value == 0 and not zero_ok):
        kind = "non-negative" if zero_ok else "positive"
        raise ValueError(f"`{name}` must be a {kind} finite number. Received: {name}={value!r}")
    return float(value)


def positive_int(name, value, *, zero_ok=False):
    """Return `value` as an int if it is a whole number of at least one (or zero)."""
    least = 0 if zero_ok else 1
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}"
        )
    return int(value)


def fraction(name, value):
    """Return `value` as a float if it is a number from 0 to 1."""
    if positive_number(name, value, zero_ok=True) > 1:
        raise ValueError(f"`{name}` must be a fraction from 0 to 1. Received: {name}={value!r}")
    return float(value)


def output_shape(model, input_shape, dtype="float32", condition=None):
    """Static output shape of a layer, model or callable for a batch of `input_shape` rows.

    Builds the layer if it is not built yet.

    Raises:
        ValueError: if it takes or gives more than one tensor.
    """
    return tuple(output_spec(model, input_shape, dtype, condition).shape)


def output_spec(model, input_shape, dtype="float32", condition=None):
    """Shape and dtype of what a layer, model or callable gives; see `output_shape`."""
    if not isinstance(model, keras.layers.Layer):
        traced = tf.function(model).get_concrete_function(
            tf.TensorSpec((None, *input_shape), dtype)
        )
        return tf.TensorSpec(traced.output_shapes, traced.output_dtypes)
    inputs = getattr(model, "inputs", None) or [None]
    if len(inputs) > (1 if condition is None else 2):
        raise StructureError(model, "input", inputs)
    found = call(model, keras.KerasTensor((None, *input_shape), dtype), condition)
    if not isinstance(found, keras.KerasTensor):
        raise StructureError(model, "output", found)
    return found


class StructureError(ValueError):
    """A model takes or gives more than one tensor."""

    def __init__(self, model, what, tensors):
        shapes = keras.tree.map_structure(lambda x: tuple(x.shape), tensors)
        super().__init__(
            f"Expected a model of one {what}. Received: '{model.name}', with "
            f"{len(keras.tree.flatten(tensors))} {what}s of shapes {shapes}. " + _REMEDIES[what]
        )


_REMEDIES = {
    "input": "A conditional GAN has a Functional generator of (latent, condition) and a Functional "
    "critic of (sample, condition), whose conditions have one shape.",
    "output": "Pick one, as in keras.Model(model.inputs, model.outputs[0]).",
}


def instance_of(name, value, cls, what):
    """Check that `value` is one of these."""
    if any(base.__module__.split(".")[0] == "tf_keras" for base in type(value).__mro__):
        raise TypeError(
            f"`{name}` must be {what}. Received: {name} of Keras 2 (tf_keras). Save it by "
            "`model.save('old.h5')`, and convert that: kgl.models.convert('old.h5'), or "
            "keras-gradlayer convert old.h5 --out new.keras"
        )
    if not isinstance(value, cls):
        raise TypeError(f"`{name}` must be {what}. Received: {name}={value!r}")


def scores_shape(name, critic, input_shape, dtype="float32", condition=None):
    """Check that `critic` maps a batch of `input_shape` rows to one score a row."""
    taken = getattr(critic, "input_shape", None) if isinstance(critic, keras.Model) else None
    if isinstance(taken, tuple) and taken[0] is None and not _fits(taken[1:], tuple(input_shape)):
        raise ValueError(
            f"`{name}` does not take samples of shape {tuple(input_shape)}, which is what it would "
            f"be given. It takes {taken[1:]}."
        )
    try:
        shape = output_shape(critic, input_shape, dtype, condition)
    except StructureError:
        raise
    except Exception as e:
        raise ValueError(
            f"`{name}` does not take samples of shape {tuple(input_shape)}, "
            f"which is what it would be given. It said: {e}"
        ) from e
    if shape not in ((None,), (None, 1)):
        raise ValueError(
            f"`{name}` must give one score a sample, shape (batch,) or (batch, 1). "
            f"Received: output shape {shape} for samples of shape {tuple(input_shape)}"
        )


def _fits(expected, shape):
    """Whether sizes are those expected, of which `None` fits all; Keras adds and drops axes."""
    same = len(expected) == len(shape)
    return not same or all(e in (None, d) or d is None for e, d in zip(expected, shape))


def depends_on_input(name, f, input_shape, dtype="float32", condition=None):
    """Check that the scores `f` gives are differentiable functions of its first input."""
    found = []

    def look(x, *condition):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            scores = f(x, *condition)
        found.append(tape.gradient(scores, x))

    specs = [tf.TensorSpec((None, *input_shape), dtype)]
    if condition is not None:
        specs.append(tf.TensorSpec(condition.shape, condition.dtype))
    tf.function(look, autograph=False).get_concrete_function(*specs)
    if found[-1] is None:
        raise ValueError(
            f"The scores of `{name}` must depend on its input in a differentiable way: a gradient "
            "layer moves samples along their gradient. Received scores without a gradient, as "
            "after argmax, rounding or a cast to integers."
        )


def rows_independent(name, critic, input_shape, condition=None):
    """Check that in inference mode a row's score does not depend on the other rows.

    The test is structural: the gradient of the first row's score with respect to the other rows
    must be exactly zero.
    """
    x = tf.random.stateless_normal((4, *input_shape), seed=(0, 1))
    if condition is not None:
        condition = tf.zeros((4, *condition.shape[1:]), condition.dtype)

    def first(x):
        return tf.reshape(call(critic, x, condition, training=False), (4, -1))[:1]

    coupling = input_gradient(first, x)[1:]
    if tf.reduce_any(coupling != 0):
        raise ValueError(
            f"`{name}` couples the rows of a batch in inference mode: the score of one sample "
            "changes with the samples beside it, so a gradient layer would move the same sample "
            "differently in another batch. Expected a critic whose scores are row by row; remove "
            "layers that mix the batch (minibatch discrimination, batch statistics at inference)."
        )
