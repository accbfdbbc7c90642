"""How samples are distributed over the combinations of several classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class StackedModeCoverage(NamedTuple):
    """How samples are distributed over the combinations.

    Attributes:
        modes: number of combinations that occur.
        divergence: KL(samples ‖ uniform over all combinations), in nats; 0 at best.
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
    labels = np.asarray(labels)
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
