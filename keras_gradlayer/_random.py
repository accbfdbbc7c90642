"""Random numbers of a named algorithm: with the default one, XLA on a CPU is twenty times slower.

Outside XLA they are those of `keras.random` for a `SeedGenerator`, and for seeds from 0 to
2³¹ − 3; beyond, Keras repeats itself.
"""

import keras
import numpy as np
import tensorflow as tf

_ALGORITHM = "philox"


def normal(shape, seed, stddev=1.0, dtype="float32"):
    """Normal numbers of mean zero; `seed` as for `keras.random`."""
    seed, stddev = _pair(seed), tf.cast(stddev, dtype)
    return _share(
        lambda shape: tf.random.stateless_normal(
            shape, seed, stddev=stddev, dtype=dtype, alg=_ALGORITHM
        ),
        shape,
    )


def uniform(shape, seed, low=0.0, high=1.0, dtype="float32"):
    """Uniform numbers from `low` to below `high`; `seed` as for `keras.random`."""
    seed, low, high = _pair(seed), tf.cast(low, dtype), tf.cast(high, dtype)
    return _share(
        lambda shape: tf.random.stateless_uniform(shape, seed, low, high, dtype, alg=_ALGORITHM),
        shape,
    )


def _share(draw, shape):
    """On one of several replicas, its rows of what one device would draw for the whole batch."""
    context = tf.distribute.get_replica_context()
    replicas = 1 if context is None else context.num_replicas_in_sync
    if replicas == 1:
        return draw(shape)
    shape = tf.convert_to_tensor(shape)
    rows, start = shape[0], context.replica_id_in_sync_group * shape[0]
    return draw(tf.concat([[replicas * rows], shape[1:]], axis=0))[start : start + rows]


def _pair(seed):
    """The two integers that TensorFlow takes."""
    if seed is None:  # the next of Keras' global stream
        return keras.random.randint((2,), 0, tf.int32.max, "int32")
    if isinstance(seed, keras.random.SeedGenerator):
        return tf.cast(tf.math.floormod(seed.next(), tf.int32.max - 1), "int32")
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not -(2**63) <= seed < 2**63:
        raise ValueError(
            "`seed` must be an integer of 64 bits (-2**63 to 2**63 - 1), a "
            f"keras.random.SeedGenerator or None. Received: seed={seed!r}"
        )
    return tf.constant([int(seed), 0], "int64")
