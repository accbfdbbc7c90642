"""Conditional models: they take [x, condition] where others take x."""

import tensorflow as tf


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


def rows(x, start, stop):
    """Some rows of a tensor or a pair."""
    return tf.nest.map_structure(lambda t: None if t is None else t[start:stop], x)


def to_spec(condition, spec):
    """Conditions as the models take them: integer classes may be one-hot there, or of shape (1,).

    Args:
        condition: tensor of shape (n, ...).
        spec: a `KerasTensor` of shape (None, ...).

    Raises:
        ValueError: for another shape.
    """
    condition = tf.convert_to_tensor(condition)
    shape, expected = tuple(condition.shape[1:]), tuple(spec.shape[1:])
    one_hot = spec.dtype.startswith("float") and len(expected) == 1 and expected[0] > 1
    if one_hot and shape in ((), (1,)) and condition.dtype.is_integer:
        return tf.one_hot(tf.reshape(condition, [-1]), expected[0], dtype=spec.dtype)
    if sorted((shape, expected), key=len) == [(), (1,)]:
        condition = tf.reshape(condition, [-1, *expected])
    elif shape != expected:
        raise ValueError(
            f"Conditions must have the shape (n, {', '.join(map(str, expected))}) that the models "
            f"take. Received: (n, {', '.join(map(str, shape))})"
        )
    return tf.cast(condition, spec.dtype)
