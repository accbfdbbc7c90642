"""The Fréchet distance between two sets of features."""

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer.metrics._features import blocks, two_sets


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Fréchet distance between the normal distributions fitted to two sets of features.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). With Inception's pooled features it is the FID.
    Do not compare distances of different features or numbers of samples. Beyond the arrays, it
    needs the memory of a few d x d matrices.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017, Eq. (6).
    TF-GAN gives the same values for features of order 1, but drops singular values below 1e-10;
    here nothing depends on the unit of the features.

    Args:
        a: array of features, shape (n, d).
        b: array of features, shape (m, d).

    Raises:
        ValueError: for other shapes, fewer than two rows, or values that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> round(frechet_distance(x, x + 1), 3)
        3.0
    """
    a, b = two_sets(a, b, least=2)
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    # With Σ = L Lᵀ the eigenvalues of Σ_a Σ_b are the squared singular values of L_aᵀ L_b.
    root = np.linalg.svd(_factor(cov_a).T @ _factor(cov_b), compute_uv=False).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b) - 2 * root)


def _moments(x):
    """Mean and unbiased covariance."""
    mean = x.mean(axis=0, dtype="float64")
    products = np.zeros((x.shape[1], x.shape[1]))
    for rows in blocks(*x.shape):
        centered = x[rows] - mean
        products += centered.T @ centered
    return mean, products / (len(x) - 1)


def _factor(cov):
    """L with L Lᵀ = Σ, of as many columns as Σ has rank."""
    values, vectors = np.linalg.eigh(cov)
    kept = values > values[-1] * len(values) * np.finfo(float).eps
    return vectors[:, kept] * np.sqrt(values[kept])
