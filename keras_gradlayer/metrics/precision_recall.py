"""Precision, recall, density and coverage of two sets of features."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer.metrics._features import blocks, two_sets

_DISTANCES = 2**22  # at a time, about 32 MB


class PrecisionRecall(NamedTuple):
    """Four scores of generated samples.

    Attributes:
        precision: fraction of the generated samples within reach of some real one, 0 to 1.
        recall: fraction of the real samples within reach of some generated one, 0 to 1.
        density: mean number of real samples that a generated one is within reach of, over k;
            about 1 for equal distributions, and may exceed 1.
        coverage: fraction of the real samples that have a generated one within reach, 0 to 1.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 1))
        >>> x[100:] += 90  # two modes
        >>> scores = precision_recall(x, x[:100])  # samples of one of them
        >>> scores.precision, scores.recall
        (1.0, 0.5)
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real: ArrayLike, fake: ArrayLike, neighbors: int = 5) -> PrecisionRecall:
    """Quality and variety apart: precision and recall, density and coverage.

    The reach of a sample is the distance to its k-th nearest neighbour in its own set, itself not
    counted. `recall` uses the reach of the generated samples, the others that of the real ones.
    All four depend on the numbers of samples. Time grows with n·m, memory with n + m.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
    Models", NeurIPS 2019; Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative
    Models", ICML 2020. Departure: one k for all four, the second paper's 5 (the first has 3).

    Args:
        real: features of real samples, shape (n, d).
        fake: features of generated samples, shape (m, d).
        neighbors: k.

    Raises:
        ValueError: for other shapes, k rows or fewer, or values that are not finite.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> precision_recall(x, x).precision
        1.0
    """
    k = _checks.positive_int("neighbors", neighbors)
    real, fake = two_sets(real, fake, least=k + 1, names=("real", "fake"))
    center = real.mean(axis=0, dtype="float64")
    reach, fake_reach = _reach(real, k, center), _reach(fake, k, center)
    precise, covered = 0, np.zeros(len(real), bool)
    inside, recalled = 0, np.zeros(len(real), bool)
    for rows in blocks(len(fake), len(real), _DISTANCES):
        squared = _squared_distances(fake[rows], real, center)
        within = squared <= reach
        precise += within.any(axis=1).sum()
        inside += within.sum()
        covered |= within.any(axis=0)
        recalled |= (squared <= fake_reach[rows, None]).any(axis=0)
    return PrecisionRecall(
        precision=float(precise / len(fake)),
        recall=float(recalled.mean()),
        density=float(inside / len(fake) / k),
        coverage=float(covered.mean()),
    )


def _reach(x, k, center):
    """Squared distance from each row to its k-th nearest other."""
    squared = np.empty(len(x))
    for rows in blocks(len(x), len(x), _DISTANCES):
        d = _squared_distances(x[rows], x, center)
        d[np.arange(len(d)), np.arange(rows.start, rows.start + len(d))] = -1  # itself, first
        squared[rows] = np.partition(d, k, axis=1)[:, k]
    return squared


def _squared_distances(a, b, center):
    """|x|² − 2xy + |y|², which loses digits far from 0, of a few rows to all of `b`."""
    a = a - center
    squared = np.empty((len(a), len(b)))
    for rows in blocks(*b.shape):
        part = b[rows] - center
        squared[:, rows] = (a**2).sum(axis=1)[:, None] - 2 * a @ part.T + (part**2).sum(axis=1)
    return np.maximum(squared, 0, out=squared)
