"""How samples are distributed over modes, of a mixture or of combined classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer.metrics._features import two_sets


class ModeCoverage(NamedTuple):
    """How samples are distributed over the modes.

    Attributes:
        shares: for each mode, the fraction of all samples that lie nearest to it, shape (modes,).
        modes: number of modes with a sample within the radius.
        within: fraction of the samples within the radius of a mode.

    Example:
        >>> mode_coverage([[0.1], [9.0]], centers=[[0.0], [1.0]], stddev=0.1).within
        0.5
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
    _checks.positive_number("stddev", stddev)
    _checks.positive_number("radius", radius)
    distance = np.linalg.norm(samples[:, None] - centers[None], axis=-1)
    nearest, close = distance.argmin(axis=1), distance.min(axis=1) <= radius * stddev
    return ModeCoverage(
        shares=np.bincount(nearest, minlength=len(centers)) / len(samples),
        modes=len(np.unique(nearest[close])),
        within=float(close.mean()),
    )


class StackedModeCoverage(NamedTuple):
    """How samples are distributed over the combinations.

    Attributes:
        modes: number of combinations that occur.
        divergence: KL(samples ‖ uniform over all combinations), in nats; 0 at best.

    Example:
        >>> round(stacked_mode_coverage([[0], [1]], classes=4).divergence, 3)  # log 4/2
        0.693
    """

    modes: int
    divergence: float


def stacked_mode_coverage(labels: ArrayLike, classes: int = 10) -> StackedModeCoverage:
    """Count the combinations of classes among samples, such as the 1,000 of stacked MNIST.

    Both figures depend on the number of samples: for 25,600 uniform samples of 1,000 modes, all
    modes occur and the divergence is about 999 / (2 · 25,600) = 0.02.

    Source: Metz et al., "Unrolled Generative Adversarial Networks", ICLR 2017, section 3.3.1;
    Srivastava et al., "VEEGAN", NeurIPS 2017, section 5.

    Args:
        labels: integers of shape (n, parts), the class of each part according to a classifier.
        classes: number of classes.

    Raises:
        ValueError: for another shape, or anything but integers from 0 to `classes - 1`.

    Example:
        >>> stacked_mode_coverage([[3, 1, 4], [3, 1, 4], [2, 7, 1]]).modes
        2
    """
    labels = _checks.array("labels", labels, "an array of integers")
    _checks.positive_int("classes", classes)
    whole = labels.ndim == 2 and labels.size and labels.dtype.kind in "iu"
    if not whole or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`labels` must be integers from 0 to {classes - 1} of shape (n, parts). "
            f"Received: {labels.dtype} of shape {labels.shape}"
            + (f", up to {labels.max()}" if whole else "")
        )
    _, counts = np.unique(labels, axis=0, return_counts=True)
    shares = counts / len(labels)
    uniform = float(classes) ** -labels.shape[1]
    return StackedModeCoverage(len(counts), float(np.sum(shares * np.log(shares / uniform))))
