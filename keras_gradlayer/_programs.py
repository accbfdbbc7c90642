"""TensorFlow programs, one for each object."""

import functools
from collections.abc import Callable

import tensorflow as tf


def program(step: Callable, **kwargs) -> Callable:
    """A `tf.function` of `step`, a function of tensors.

    TensorFlow counts tracings by a function's code, and warns of retracing where many samplers or
    tuners trace the same once each. A partial is counted by itself.
    """
    return tf.function(functools.partial(step), autograph=False, **kwargs)
