"""Batches of an array, shuffled by their numbers: the array is held once and never copied."""

import numpy as np
import tensorflow as tf


def batches_of(
    x: np.ndarray, batch_size: int, shuffle: bool = True, seed: int | None = None
) -> tf.data.Dataset:
    """A dataset of full batches; those of another order at each pass, if shuffled.

    Args:
        x: samples, shape (n, ...).
        batch_size: samples in a batch; those that do not fill one are left out.
        shuffle: whether to shuffle at each pass.
        seed: integer that the order follows from; by default the global seed.
    """
    rows = tf.data.Dataset.range(len(x))
    if shuffle:
        rows = rows.shuffle(len(x), seed=seed)
    x = tf.constant(x)
    return rows.batch(batch_size, drop_remainder=True).map(lambda rows: tf.gather(x, rows))
