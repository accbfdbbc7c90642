"""The Inception score, for the logits of any classifier."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer import _checks


def classifier_score(logits: ArrayLike) -> float:
    """How sure a classifier is of each sample, and how varied its answers are.

    exp(E KL(p(y|x) ‖ p(y))), from 1 to the number of classes: the Inception score, if the logits
    are Inception's. Do not compare scores of different classifiers or numbers of samples.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, through TF-GAN.

    Args:
        logits: array of shape (n, classes).

    Raises:
        ValueError: if `logits` does not have this shape or is not finite.

    Example:
        >>> round(classifier_score(1e3 * np.eye(10)), 3)
        10.0
    """
    from keras_gradlayer._tfgan import classifier_metrics

    return float(classifier_metrics.classifier_score_from_logits(_checked(logits)))


class SplitScore(NamedTuple):
    """Scores of parts of the samples.

    Attributes:
        mean: of the scores.
        stddev: their (population) standard deviation.

    Example:
        >>> score = split_classifier_score(np.zeros((20, 5)), splits=2)  # of uniform predictions
        >>> round(score.mean, 6), score.stddev
        (1.0, 0.0)
    """

    mean: float
    stddev: float


def split_classifier_score(logits: ArrayLike, splits: int = 10) -> SplitScore:
    """Mean and standard deviation of the scores of parts of the samples, as papers report them.

    The deviation says nothing about another training run. The mean is lower than the score of all
    samples together, and lower still for smaller parts.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, with 10 parts.

    Args:
        logits: array of shape (n, classes).
        splits: number of consecutive parts.

    Raises:
        ValueError: if `logits` does not have this shape, or has fewer rows than parts.

    Example:
        >>> split_classifier_score(np.tile(1e3 * np.eye(5), (10, 1))).stddev
        0.0
    """
    logits = _checked(logits)
    if len(logits) < _checks.positive_int("splits", splits):
        raise ValueError(f"`splits` must be at most {len(logits)} rows. Received: splits={splits}")
    scores = [classifier_score(part) for part in np.array_split(logits, splits)]
    return SplitScore(float(np.mean(scores)), float(np.std(scores)))


def _checked(logits):
    logits = _checks.array("logits", logits).astype("float64")
    if logits.ndim != 2 or not logits.size:
        raise ValueError(f"`logits` must have the shape (n, classes). Received: {logits.shape}")
    _checks.finite("`logits`", logits)
    return logits
