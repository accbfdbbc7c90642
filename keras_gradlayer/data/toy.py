"""Points in the plane, inside the range of tanh: the toy problems of the WGAN-GP paper."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.data._batching import batches_of


class GaussianMixture(NamedTuple):
    """Equally likely round Gaussians: centers of shape (modes, 2) and one standard deviation.

    Attributes:
        centers: the modes' centers, (modes, 2).
        stddev: σ of each.

    Example:
        >>> square = GaussianMixture(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), 0.1)
    """

    centers: np.ndarray
    stddev: float


_ANGLES = np.arange(8) * np.pi / 4
_GRID = np.linspace(-0.8, 0.8, 5)

EIGHT_GAUSSIANS = GaussianMixture(0.7 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), 0.05)
"""Eight Gaussians on a circle of radius 0.7, of standard deviation 0.05."""

TWENTY_FIVE_GAUSSIANS = GaussianMixture(
    np.stack(np.meshgrid(_GRID, _GRID), axis=-1).reshape(-1, 2), 0.025
)
"""Twenty-five Gaussians on a square grid of spacing 0.4, of standard deviation 0.025."""


def eight_gaussians(n: int = 500, batch_size: int = 50, seed: int = 0) -> tf.data.Dataset:
    """Eight Gaussians on a circle; `kgl.data.EIGHT_GAUSSIANS` holds their centers.

    Float32 batches of shape (batch_size, 2), shuffled at each epoch.

    Source: the toy problems of Gulrajani et al. (2017) and Nitanda & Suzuki (2018, Figure 2),
    scaled into (-1, 1).

    Args:
        n: number of points, as many from each mode as n allows.
        batch_size: points in a batch; the last, smaller one is dropped.
        seed: integer of at least 0 that fixes the points and the order of each epoch.

    Raises:
        ValueError: if there is no full batch, or a number is out of range.

    Example:
        >>> batch = next(iter(eight_gaussians()))
    """
    return _dataset(_mixture(EIGHT_GAUSSIANS, n, seed), batch_size, seed)


def twenty_five_gaussians(n: int = 1000, batch_size: int = 50, seed: int = 0) -> tf.data.Dataset:
    """Twenty-five Gaussians on a grid; `kgl.data.TWENTY_FIVE_GAUSSIANS` holds their centers.

    Source, arguments and errors: as for `eight_gaussians`.

    Example:
        >>> next(iter(twenty_five_gaussians())).shape
        TensorShape([50, 2])
    """
    return _dataset(_mixture(TWENTY_FIVE_GAUSSIANS, n, seed), batch_size, seed)


def swiss_roll(n: int = 500, batch_size: int = 50, seed: int = 0) -> tf.data.Dataset:
    """A swiss roll in cross-section: a spiral of one and a half turns.

    Angle t uniform in [1.5π, 4.5π), at radius t, with Gaussian noise of standard deviation 0.25,
    all divided by 16. Source, arguments and errors: as for `eight_gaussians`.

    Example:
        >>> next(iter(swiss_roll())).shape
        TensorShape([50, 2])
    """
    rng = np.random.default_rng(_checks.seed(seed, negative=False))
    t = 1.5 * np.pi * (1 + 2 * rng.uniform(size=_count(n)))
    points = t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    return _dataset((points + rng.normal(scale=0.25, size=points.shape)) / 16, batch_size, seed)


def _count(n):
    _checks.fits_memory("n", _checks.positive_int("n", n), 64 * n)
    return n


def _mixture(mixture, n, seed):
    rng = np.random.default_rng(_checks.seed(seed, negative=False))
    mode = np.arange(_count(n)) % len(mixture.centers)
    return mixture.centers[mode] + rng.normal(scale=mixture.stddev, size=(n, 2))


def _dataset(points, batch_size, seed):
    if _checks.positive_int("batch_size", batch_size) > len(points):
        raise ValueError(
            "`batch_size` must be at most the number of points. "
            f"Received: batch_size={batch_size} for {len(points)} points"
        )
    return batches_of(points.astype("float32"), batch_size, seed=seed).prefetch(tf.data.AUTOTUNE)
