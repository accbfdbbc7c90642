"""The range of a model's output activation."""

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer.models.splitting import split

UNBOUNDED = (-np.inf, np.inf)


def output_range(model: keras.Model) -> tuple[float, float]:
    """The least and largest value that a model's output activation gives for huge inputs.

    Infinite where there is no such bound, or where the activation cannot be seen or is not an
    increasing function of each entry, such as softmax.
    """
    try:
        _, head = split(model)
    except ValueError:
        return UNBOUNDED
    shape = (1, *(d or 1 for d in head.input_shape[1:]))
    low, high = (float(np.mean(head(tf.fill(shape, v)))) for v in (-1e4, 1e4))
    if low >= high:
        return UNBOUNDED
    return (low if low > -1e3 else -np.inf), (high if high < 1e3 else np.inf)
