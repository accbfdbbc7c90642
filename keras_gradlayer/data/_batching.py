"""Batches of an array, shuffled by row number."""

import numpy as np
import tensorflow as tf


def batches_of(
    x: np.ndarray | tuple[np.ndarray, ...],
    batch_size: int,
    shuffle: bool = True,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Full batches of the rows of `x`, shuffled at each pass by `seed` or the global seed.

    A tuple of arrays of as many rows each gives tuples.

    A large array is read in place, since TensorFlow would copy it more than once.
    """
    count = len(x[0] if isinstance(x, tuple) else x)
    rows = tf.data.Dataset.range(count)
    if shuffle:
        rows = rows.shuffle(count, seed=seed)
    takes = tf.nest.map_structure(_taking, x)
    return rows.batch(batch_size, drop_remainder=True).map(
        lambda rows: tf.nest.map_structure(lambda take: take(rows), takes)
    )


def _taking(x):
    """A function of row numbers that gives the rows."""
    if x.nbytes <= 2**24:
        x = tf.constant(x)
        return lambda rows: tf.gather(x, rows)

    def take(rows):
        found = tf.numpy_function(lambda rows: x[rows], [rows], x.dtype, stateful=False)
        return tf.ensure_shape(found, (rows.shape[0], *x.shape[1:]))

    return take
