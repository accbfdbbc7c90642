"""The sliced Wasserstein distance between two sets of samples."""

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer.metrics._features import floats


def sliced_wasserstein(
    real: ArrayLike, fake: ArrayLike, projections: int = 256, seed: int = 0
) -> float:
    """Wasserstein-1 distance on the line, averaged over random directions.

    Use it for points, features, or small images; it needs no classifier. It is the mean over unit
    directions u of ∫|F − G|, with F and G the distribution functions of real·u and fake·u, in the
    unit of the samples. It falls with the number of samples, and about as 1/√d with their
    dimension d: compare values only at equal numbers and dimensions.

    Source: Rabin et al., "Wasserstein Barycenter and its Application to Texture Mixing", 2011.
    Karras et al. (2018), and TF-GAN, use it between patches; here it is between whole samples.

    Args:
        real: array of shape (n, ...).
        fake: array of shape (m, ...).
        projections: how many directions.
        seed: integer of at least 0 that fixes the directions.

    Raises:
        ValueError: if the samples' shapes differ or they are not finite, or for other seeds and
            numbers of directions.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 1))
        >>> round(sliced_wasserstein(x, x + 2), 6)
        2.0
    """
    real, fake = floats("real", real), floats("fake", fake)
    _checks.seed(seed, negative=False)
    _checks.positive_int("projections", projections)
    if real.shape[1:] != fake.shape[1:] or real.ndim < 2 or not (real.size and fake.size):
        raise ValueError(
            "`real` and `fake` must be samples of one shape, (n, ...) and (m, ...). "
            f"Received: {real.shape} and {fake.shape}"
        )
    _checks.finite("`real`", real)
    _checks.finite("`fake`", fake)
    real, fake = real.reshape(len(real), -1), fake.reshape(len(fake), -1)
    rng, total = np.random.default_rng(seed), 0.0
    for _ in range(projections):
        u = rng.normal(size=real.shape[1])
        u /= np.linalg.norm(u)
        total += _on_the_line(*(np.sort(x @ u.astype(x.dtype)) for x in (real, fake)))
    return float(total / projections)


def _on_the_line(a, b):
    """∫|F − G| of two sorted samples."""
    if len(a) == len(b):
        return np.abs(a - b).mean(dtype="float64")
    x = np.sort(np.concatenate([a, b]))
    f, g = (np.searchsorted(y, x[:-1], side="right") / len(y) for y in (a, b))
    return np.sum(np.abs(f - g) * np.diff(x), dtype="float64")
