"""Checks of what a user handed over: each error says what was expected and what was received."""

import math
import os
import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _backend
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


_TINY, _HUGE = (float(x) for x in (np.finfo("float32").tiny, np.finfo("float32").max))
_MOST_STEPS = 10_000


def _real(value, *kinds):
    """Whether it is a number of these kinds, and no truth value."""
    return isinstance(value, kinds) and not isinstance(value, (bool, np.bool_))


def positive_number(name, value, *, zero_ok=False):
    """Return `value` as a float if it is a finite number of float32 above (or at) zero."""
    ok = _real(value, int, float, np.integer, np.floating)
    if not ok or not (_TINY <= value <= _HUGE or (zero_ok and 0 <= value < _TINY)):
        kind = "non-negative" if zero_ok else "positive"
        beyond = ok and 0 < value < math.inf
        raise ValueError(
            f"`{name}` must be a {kind} finite number. Received: {name}={value!r}"
            + (f", and float32 holds {_TINY:.2g} to {_HUGE:.2g}" if beyond else "")
        )
    return float(value)


def positive_int(name, value, *, zero_ok=False, most=None):
    """Return `value` as an int if it is a whole number of at least one (or zero)."""
    least, top = 0 if zero_ok else 1, 2**63 - 1 if most is None else most
    if not _real(value, int, np.integer) or not least <= value <= top:
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        if most is None and _real(value, int, np.integer) and value > top:
            bounds += ", below 2**63"
        raise ValueError(f"`{name}` must be an integer {bounds}. Received: {name}={value!r}")
    return int(value)


def fraction(name, value):
    """Return `value` as a float if it is a number from 0 to 1."""
    if positive_number(name, value, zero_ok=True) > 1:
        raise ValueError(f"`{name}` must be a fraction from 0 to 1. Received: {name}={value!r}")
    return float(value)


def interval(names, bounds):
    """Return two numbers as floats if they are finite ones of float32, the smaller first."""
    known = all(_real(b, int, float, np.integer, np.floating) for b in bounds)
    if not known or not -_HUGE <= bounds[0] < bounds[1] <= _HUGE:
        low, high = names
        raise ValueError(
            f"`{low}` must be below `{high}`, both finite. "
            f"Received: {low}={bounds[0]!r}, {high}={bounds[1]!r}"
        )
    return float(bounds[0]), float(bounds[1])


def steps(name, value):
    """Return `value` as an int if it is a number of steps that a layer may take."""
    return positive_int(name, value, most=_MOST_STEPS)


def seed(value, *, negative=True, name="seed"):
    """Return `value` as an int if it is a seed: of 64 bits, by default with a sign."""
    if not _real(value, int, np.integer) or not -(2**63) * negative <= value < 2**63:
        expected = "of 64 bits (-2**63 to 2**63 - 1)" if negative else "of at least 0, below 2**63"
        raise ValueError(f"`{name}` must be an integer {expected}. Received: {name}={value!r}")
    return int(value)


def among(value, allowed):
    """Whether `value` is one of these; an array never is."""
    return any(value is a or (type(value) is type(a) and value == a) for a in allowed)


def boolean(name, value):
    """Return `value` as a bool if it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)


def sample_shape(name, value, *, empty_ok=False):
    """Return `value` as a tuple if it is the shape of one sample: positive integers."""
    shape = (value,) if _real(value, int, np.integer) else value
    known = isinstance(shape, (tuple, list)) and len(shape) > 0
    known = known and all(_real(d, int, np.integer) for d in shape)
    if not known or not (all(d > 0 for d in shape) or (empty_ok and tuple(shape) == (0,))):
        none = ", or (0,) for a model without noise" if empty_ok else ""
        raise ValueError(
            f"`{name}` must be the shape of one sample, positive integers without the batch{none}. "
            f"Received: {name}={value!r}"
        )
    return tuple(int(d) for d in shape)


def image_shape(value):
    """Return `value` as a tuple if it is (height, width, channels)."""
    known = isinstance(value, (tuple, list)) and len(value) == 3
    if not known or not all(_real(d, int, np.integer) and d > 0 for d in value):
        raise ValueError(
            "`image_shape` must be (height, width, channels), positive integers. "
            f"Received: image_shape={value!r}"
        )
    return tuple(int(d) for d in value)


def name(name, value):
    """Check that `value` is a name."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a name. Received: {name}={value!r}")


def path(name, value):
    """Check that `value` is a path."""
    instance_of(name, value, (str, os.PathLike), "a path")


def fits_memory(name, value, size):
    """Check that `value` of something, `size` bytes in all, can be held."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows does not tell
        memory = 2**40
    if size > memory:
        raise ValueError(
            f"`{name}` must fit in memory, {memory / 2**30:.3g} GiB. Received: {name}={value}, "
            f"which takes {size / 2**30:.3g} GiB"
        )


def value_range(name, value):
    """Return `value` as two floats if it is a pair of finite numbers, the smaller first."""
    pair = value if isinstance(value, (tuple, list, np.ndarray)) and len(value) == 2 else ()
    known = len(pair) == 2 and all(_real(b, int, float, np.integer, np.floating) for b in pair)
    if not known or not -_HUGE <= pair[0] < pair[1] <= _HUGE:
        raise ValueError(
            f"`{name}` must be two finite numbers, the smaller first. Received: {name}={value!r}"
        )
    return float(pair[0]), float(pair[1])


def array(name, value, what="an array of numbers"):
    """`value` as a NumPy array of integers or floats; each dtype stays as it is."""
    try:
        found = np.asarray(value)
    except ValueError:  # rows of several lengths
        found = np.empty((), object)
    if found.dtype.kind not in "biuf" and not is_float(found.dtype):
        kind = f"an array of {found.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise ValueError(f"`{name}` must be {what}. Received: {name} of type {kind}")
    return found


def is_float(dtype):
    """Whether it is a floating dtype, those of TensorFlow alone included."""
    try:
        return tf.as_dtype(dtype).is_floating
    except TypeError:  # of strings of a fixed length, or records
        return False


def finite(name, x):
    """Check that all of an array is finite, in float32, too."""
    bad = not_finite(x)
    if bad:
        raise ValueError(
            f"{name} must be finite. Received: {bad} values that are NaN, infinite or beyond "
            "float32"
        )


def not_finite(x):
    """How many values of an array float32 holds as NaN or infinity."""
    parts = [slice(i, i + 4096) for i in range(0, len(x), 4096)]  # no copy as long as the data
    with np.errstate(over="ignore", invalid="ignore"):
        good = sum(np.sum(np.isfinite(np.asarray(x[p], "float32"))) for p in parts)
    return int(np.size(x) - good)


def finite_weights(name, variables):
    """Check that variables are finite, all of them."""
    floats = [v for v in variables if tf.as_dtype(v.dtype).is_floating]
    bad = [v for v in floats if not np.isfinite(keras.ops.convert_to_numpy(v)).all()]
    if bad:
        named = ", ".join(getattr(v, "path", v.name) for v in bad[:3])
        raise ValueError(
            f"`{name}` must have finite weights. Received: NaN or infinite values in {len(bad)} of "
            f"{len(list(variables))} variables ({named})"
        )


def latents(z, shape):
    """Check that latents are numbers of this shape, and where they have values, finite ones."""
    dtype = tf.as_dtype(z.dtype)
    if not (dtype.is_floating or dtype.is_integer):
        raise ValueError(f"Latents must be floats. Received: {dtype.name}")
    if z.shape.rank is not None and not _same(tuple(z.shape[1:]), tuple(shape)):
        raise ValueError(
            f"Latents must have the shape (n, {', '.join(map(str, shape))}). "
            f"Received: {tuple(z.shape)}"
        )
    if isinstance(z, tf.Tensor) and hasattr(z, "numpy"):  # not symbolic
        finite("Latents", z.numpy())


def _same(shape, expected):
    """Whether sizes are those expected, as far as they are known."""
    return len(shape) == len(expected) and all(d in (None, e) for d, e in zip(shape, expected))


def layer_numbers(name, value, rows=None):
    """Numbers of layers as an int32 tensor: one for all rows, or one for each of them.

    They are cut off where int32 ends. `rows` is how many rows there are, `None` if it is not known.
    """
    known = not tf.is_tensor(value)
    try:
        found = np.asarray(value) if known else value
        whole = tf.as_dtype(found.dtype).is_integer
    except (TypeError, ValueError):  # rows of several lengths, or text
        whole = False
    shape = tuple(found.shape) if whole else ()
    if not whole or len(shape) > 1 or (shape and not _same((rows,), shape)):
        each = "" if rows is None else f", or integers of shape ({rows},), one for each row"
        raise ValueError(f"`{name}` must be an integer{each}. Received: {name}={value!r}")
    most = min(int(found.dtype.max if not known else np.iinfo(found.dtype).max), tf.int32.max)
    clipped = np.clip(found, 0, most) if known else tf.clip_by_value(found, 0, most)
    return keras.ops.cast(clipped, "int32")


def output_shape(model, input_shape, dtype="float32", condition=None):
    """Static output shape of a layer, model or callable for a batch of `input_shape` rows.

    Builds the layer if it is not built yet.

    Raises:
        ValueError: if it takes or gives more than one tensor.
    """
    return tuple(output_spec(model, input_shape, dtype, condition).shape)


def output_spec(model, input_shape, dtype="float32", condition=None):
    """Shape and dtype of what a layer, model or callable gives; see `output_shape`."""
    if not isinstance(model, keras.layers.Layer) and not _backend.is_tensorflow():
        model = keras.layers.Lambda(model)
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
    shape = shape_of_outputs(name, critic, input_shape, dtype, condition, "samples")
    if shape not in ((None,), (None, 1)):
        raise ValueError(
            f"`{name}` must give one score a sample, shape (batch,) or (batch, 1). "
            f"Received: output shape {shape} for samples of shape {tuple(input_shape)}"
        )


def shape_of_outputs(name, model, input_shape, dtype="float32", condition=None, what="latents"):
    """What `output_shape` gives, after a check that the model takes a batch of such rows."""
    taken = getattr(model, "input_shape", None) if isinstance(model, keras.Model) else None
    refusal = (
        f"`{name}` does not take {what} of shape {tuple(input_shape)}, which is what it would be "
        "given. Received: "
    )
    if isinstance(taken, tuple) and taken[0] is None and not _fits(taken[1:], tuple(input_shape)):
        raise ValueError(f"{refusal}a model that takes {taken[1:]}")
    try:
        return output_shape(model, input_shape, dtype, condition)
    except StructureError:
        raise
    except Exception as e:
        raise ValueError(f"{refusal}{type(model).__name__}, which said: {e}") from e


def _fits(expected, shape):
    """Whether sizes are those expected, of which `None` fits all; Keras adds and drops axes."""
    same = len(expected) == len(shape)
    return not same or all(e in (None, d) or d is None for e, d in zip(expected, shape))


def depends_on_input(name, f, input_shape, dtype="float32", condition=None):
    """Check that the scores `f` gives are differentiable functions of its first input."""
    if not _backend.is_tensorflow():
        return  # where a gradient that is none is zero, or PyTorch's own error
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
