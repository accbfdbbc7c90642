"""The Fréchet distance between two sets of features."""

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer.metrics._features import blocks, two_sets


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Fréchet distance between the normal distributions fitted to two sets of features.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). With Inception's pooled features it is the FID.
    Distances of different features or numbers of samples do not compare. The moments are added up
    block by block in float64: beside the arrays, memory is that of a few matrices d x d.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, through TF-GAN.

    Args:
        a: array of features, shape (n, d).
        b: array of features, shape (m, d).

    Returns:
        The distance, a float.

    Raises:
        ValueError: if the arrays are not of such shapes or have fewer than two rows, or hold NaN
            or infinite values.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet_distance(x, x + 1), 3)
    3.0
    """
    from keras_gradlayer._tfgan import classifier_metrics

    a, b = two_sets(a, b, least=2)
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    root = float(classifier_metrics.trace_sqrt_product(cov_a, cov_b))
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b) - 2 * root)


def _moments(x):
    """Mean and unbiased covariance."""
    mean = x.mean(axis=0, dtype="float64")
    products = np.zeros((x.shape[1], x.shape[1]))
    for rows in blocks(*x.shape):
        centered = x[rows] - mean
        products += centered.T @ centered
    return mean, products / (len(x) - 1)
