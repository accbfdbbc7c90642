"""Random numbers of a named algorithm: with the default one, XLA on a CPU is twenty times slower.

Outside XLA they are those of `keras.random` for a `SeedGenerator`, and for seeds from 0 to
2³¹ − 3; beyond, Keras repeats itself.
"""

import math

import keras
import numpy as np
import tensorflow as tf

_ALGORITHM = "philox"
_GOLDEN = 0x9E3779B97F4A7C15


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


def row_seeds(x):
    """A number for each row, uint64, that follows from its bits as float32 alone."""
    x = tf.cast(x, "float32")
    bits = tf.cast(tf.bitcast(tf.reshape(x, [tf.shape(x)[0], -1]), "uint32"), "uint64")
    place = tf.cast(tf.range(tf.shape(bits)[1]), "uint64") * tf.constant(2**32, "uint64")
    return tf.reduce_sum(split_mix(bits + place), axis=1)


def later_seeds(seeds, step):
    """Seeds of a step, an integer or a scalar: as good as new for each."""
    return split_mix(split_mix(tf.cast(seeds, "uint64")) + tf.cast(step, "uint64"))


def row_normal(seeds, like):
    """Normal numbers in the shape and dtype of `like`, whose row i follows from `seeds[i]` alone.

    The same in every program, batch and place up to rounding: words of SplitMix64, and the method
    of Box & Muller (1958), one number from the two halves of a word.
    """
    size = tf.reduce_prod(tf.shape(like)[1:])
    counter = tf.cast(tf.range(size), "uint64") * tf.constant(_GOLDEN, "uint64")
    words = split_mix(split_mix(tf.cast(seeds, "uint64"))[:, None] + counter)
    high = tf.bitwise.right_shift(words, tf.constant(32, "uint64"))
    low = tf.bitwise.bitwise_and(words, tf.constant(2**32 - 1, "uint64"))
    dtype = tf.float64 if like.dtype == tf.float64 else tf.float32
    radius = tf.sqrt(-2 * tf.math.log((tf.cast(high, dtype) + 0.5) * 2.0**-32))
    drawn = radius * tf.cos(2 * math.pi * 2.0**-32 * tf.cast(low, dtype))
    return tf.cast(tf.reshape(drawn, tf.shape(like)), like.dtype)


def split_mix(x):
    """Random bits for each number: SplitMix64 (Steele et al., OOPSLA 2014, Figure 15), uint64."""
    x += tf.constant(_GOLDEN, "uint64")
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, "uint64")))
        x *= tf.constant(factor, "uint64")
    return x


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
