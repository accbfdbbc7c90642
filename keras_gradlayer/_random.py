"""Random numbers of a named algorithm: left to choose, XLA on a CPU takes twenty times as long.

In eager and graph mode they are those of `keras.random` for the same seed.
"""

import keras
import numpy as np
import tensorflow as tf

_ALGORITHM = "philox"


def normal(shape, seed, stddev=1.0, dtype="float32"):
    """Normal numbers of mean zero; `seed` as for `keras.random`."""
    return tf.random.stateless_normal(
        shape, _pair(seed), stddev=tf.cast(stddev, dtype), dtype=dtype, alg=_ALGORITHM
    )


def uniform(shape, seed, low=0.0, high=1.0, dtype="float32"):
    """Uniform numbers from `low` to below `high`; `seed` as for `keras.random`."""
    low, high = tf.cast(low, dtype), tf.cast(high, dtype)
    return tf.random.stateless_uniform(shape, _pair(seed), low, high, dtype, alg=_ALGORITHM)


def _pair(seed):
    """The two integers that TensorFlow takes, as Keras makes them."""
    if seed is None:  # the next of Keras' global stream
        return keras.random.randint((2,), 0, tf.int32.max, "int32")
    if isinstance(seed, keras.random.SeedGenerator):
        seed = seed.next()
    elif isinstance(seed, (int, np.integer)):
        seed = tf.constant([seed, 0], "int64")
    else:
        raise ValueError(
            "`seed` must be an integer, a keras.random.SeedGenerator or None. "
            f"Received: seed={seed!r}"
        )
    return tf.cast(tf.math.floormod(seed, tf.int32.max - 1), "int32")
