"""The kernel distance between two sets of features."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer.metrics._features import two_sets


def kernel_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of two sets of features.

    The kernel is (xᵀy / d + 1)³; the estimate is averaged over blocks of at most 1,024 rows,
    shuffled with a fixed seed. With Inception's pooled features it is the KID. Unlike the Fréchet
    distance it does not fall with the number of samples; near 0 it may be negative.

    Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, through TF-GAN.

    Args:
        a: array of features, shape (n, d).
        b: array of features, shape (m, d).

    Raises:
        ValueError: for other shapes, fewer than two rows a block, or values that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> kernel_distance(x, x + 1) > kernel_distance(x, x + 0.5)
        True
    """
    from keras_gradlayer._tfgan import classifier_metrics

    a, b = two_sets(a, b, least=2)
    blocks = -(-max(len(a), len(b)) // 1024)
    a, b = two_sets(a, b, least=2 * blocks)
    pairs = zip(_parts(a, blocks), _parts(b, blocks), strict=True)
    distance = classifier_metrics.kernel_classifier_distance_from_activations
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # TF-GAN's loop is deprecated
    try:
        return float(np.mean([distance(x, y) for x, y in pairs]))
    finally:
        logger.setLevel(level)


def _parts(x, count):
    """Shuffled rows in `count` parts, the larger ones last, converted to float64 one at a time."""
    order = np.random.default_rng(0).permutation(len(x))
    sizes = [len(x) // count + (k >= count - len(x) % count) for k in range(count)]
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return (tf.constant(x[rows], "float64") for rows in parts)
