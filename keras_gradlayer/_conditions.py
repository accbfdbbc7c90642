"""Conditional models: they take [x, condition] where others take x."""

import keras
import tensorflow as tf

from keras_gradlayer import _random


def call(part, x, condition=None, **kwargs):
    """`part` of `x`, and of the condition if it takes one."""
    inputs = getattr(part, "inputs", None)
    if condition is None or (inputs and len(inputs) == 1):
        return part(x, **kwargs)
    return part([x, condition], **kwargs)


def spec_of(*parts):
    """What the first of the models that take a condition expects, a `KerasTensor`, or `None`."""
    for part in parts:
        inputs = getattr(part, "inputs", None) or ()
        if len(inputs) == 2:
            return inputs[1]
    return None


def pair(x, condition):
    """Both, or `x` alone where there is no condition."""
    return x if condition is None else (x, condition)


def unpair(x):
    """`x` and the condition, which is `None` where there is none."""
    return x if isinstance(x, (tuple, list)) else (x, None)


def on_samples(f):
    """`f` of samples, which leaves the conditions beside them as they are."""
    return lambda x, *condition: (f(x), *condition) if condition else f(x)


def rows(x, start, stop):
    """Some rows of a tensor or a pair."""
    return tf.nest.map_structure(lambda t: None if t is None else t[start:stop], x)


def to_spec(condition, spec):
    """Conditions as the models take them: integer classes may be one-hot there, or of shape (1,).

    Args:
        condition: tensor of shape (n, ...).
        spec: a `KerasTensor` of shape (None, ...).

    Raises:
        ValueError: for another shape, or classes out of range. In a graph, where an error would
            refuse the rows beside it, such a class is NaN.
    """
    condition = tf.convert_to_tensor(condition)
    shape, expected = tuple(condition.shape[1:]), tuple(spec.shape[1:])
    one_hot = spec.dtype.startswith("float") and len(expected) == 1 and expected[0] > 1
    if one_hot and shape in ((), (1,)) and condition.dtype.is_integer:
        return _one_hot(tf.cast(tf.reshape(condition, [-1]), "int64"), expected[0], spec.dtype)
    if sorted((shape, expected), key=len) == [(), (1,)]:
        condition = tf.reshape(condition, [-1, *expected])
    elif shape != expected:
        raise ValueError(
            f"Conditions must have the shape (n, {', '.join(map(str, expected))}) that the models "
            f"take. Received: (n, {', '.join(map(str, shape))})"
        )
    return tf.cast(condition, spec.dtype)


def _one_hot(classes, n, dtype):
    valid = (classes >= 0) & (classes < n)
    if tf.executing_eagerly() and not tf.reduce_all(valid):
        raise ValueError(
            f"Classes must be integers from 0 to {n - 1}. Received: {classes[~valid][0].numpy()}"
        )
    return tf.where(valid[:, None], tf.one_hot(classes, n, dtype=dtype), float("nan"))


def draw(model, n, seed=None, condition=None):
    """`n` latents of a sampler or trainer, with their conditions where it takes them."""
    z = model.latent.sample(n, seed)
    if getattr(model, "condition_spec", None) is None and condition is None:
        return z
    if condition is None:  # where there is no noise, they follow from other numbers
        noise = z if all(model.latent.shape) else _random.normal((n, 2), seed)
        condition = _conditions_of_data(model, noise)
    return pair(*given(model, z, condition))


def _conditions_of_data(model, z):
    if not model.conditions.known:
        raise ValueError(
            f"'{model.name}' is conditional and has seen no data. Expected `condition`, or a fit "
            "with conditions first."
        )
    return model.conditions.of(z)


def draw_rows(model, seeds):
    """The latent of each seed, and its condition where the model takes one."""
    z = model.latent.sample_rows(seeds)
    if model.condition_spec is None:
        return z
    return z, model.conditions.draw(seeds)


def given(model, z, condition):
    """Latents and conditions as a model takes them, from [z, condition] or both."""
    if isinstance(z, (tuple, list)):
        if condition is not None or len(z) != 2:
            raise ValueError("Expected z, [z, condition] or z and `condition`.")
        z, condition = z
    if model.condition_spec is None:
        if condition is not None:
            raise ValueError(f"'{model.name}' takes no condition. Received: {condition!r}")
        return z, None
    if condition is None:
        if not all(model.latent.shape):
            raise ValueError(
                f"'{model.name}' takes no noise: its samples differ by the condition alone. "
                "Expected `condition`. Received: None"
            )
        return z, _conditions_of_data(model, z)
    if isinstance(condition, keras.KerasTensor):
        return z, condition
    return z, to_spec(condition, model.condition_spec)
