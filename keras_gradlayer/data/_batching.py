"""Batches of an array, shuffled by row number."""

import numpy as np
import tensorflow as tf


def batches_of(
    x: np.ndarray, batch_size: int, shuffle: bool = True, seed: int | None = None
) -> tf.data.Dataset:
    """Full batches of the rows of `x`, shuffled at each pass by `seed` or the global seed.

    A large array is read in place, since TensorFlow would copy it more than once.
    """
    rows = tf.data.Dataset.range(len(x))
    if shuffle:
        rows = rows.shuffle(len(x), seed=seed)
    rows = rows.batch(batch_size, drop_remainder=True)
    if x.nbytes <= 2**24:
        x = tf.constant(x)
        return rows.map(lambda rows: tf.gather(x, rows))
    shape = (batch_size, *x.shape[1:])
    return rows.map(
        lambda rows: tf.ensure_shape(
            tf.numpy_function(lambda rows: x[rows], [rows], x.dtype, stateful=False), shape
        )
    )
