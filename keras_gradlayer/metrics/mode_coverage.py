"""How samples are distributed over the modes of a mixture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer.metrics._features import two_sets


class ModeCoverage(NamedTuple):
    """How samples are distributed over the modes.

    Attributes:
        shares: for each mode, the fraction of all samples that lie nearest to it, shape (modes,).
        modes: number of modes with a sample within the radius.
        within: fraction of the samples within the radius of a mode.
    """

    shares: np.ndarray
    modes: int
    within: float


def mode_coverage(
    samples: ArrayLike, centers: ArrayLike, stddev: float, radius: float = 4.0
) -> ModeCoverage:
    """Assign samples to the modes of a mixture of round Gaussians.

    Args:
        samples: array of shape (n, dim).
        centers: array of shape (modes, dim).
        stddev: standard deviation of the modes.
        radius: largest distance of a mode's samples from its center, in standard deviations.

    Raises:
        ValueError: if the shapes do not match, or a value is not finite.

    Example:

    >>> mode_coverage([[0.1, 0.0]], centers=[[0.0, 0.0], [1.0, 0.0]], stddev=0.05).modes
    1
    """
    samples, centers = two_sets(samples, centers, names=("samples", "centers"))
    distance = np.linalg.norm(samples[:, None] - centers[None], axis=-1)
    nearest, close = distance.argmin(axis=1), distance.min(axis=1) <= radius * stddev
    return ModeCoverage(
        shares=np.bincount(nearest, minlength=len(centers)) / len(samples),
        modes=len(np.unique(nearest[close])),
        within=float(close.mean()),
    )
