"""The Inception score, with a classifier of one's own."""

import numpy as np
from numpy.typing import ArrayLike


def classifier_score(logits: ArrayLike) -> float:
    """How sure a classifier is of each sample, and how varied its answers are over all.

    exp(E KL(p(y|x) ‖ p(y))), from 1 to the number of classes. With Inception's logits it is the
    Inception score. Scores of different classifiers or numbers of samples do not compare.

    Source: Salimans et al., "Improved Techniques for Training GANs", 2016, through TF-GAN.

    Args:
        logits: array of shape (n, classes).

    Returns:
        The score, a float.

    Raises:
        ValueError: if `logits` is not of that shape.

    Example:

    >>> round(classifier_score(1e3 * np.eye(10)), 3)
    10.0
    """
    from keras_gradlayer._tfgan import classifier_metrics

    logits = np.asarray(logits, "float64")
    if logits.ndim != 2 or not logits.size:
        raise ValueError(f"`logits` must have the shape (n, classes). Received: {logits.shape}")
    return float(classifier_metrics.classifier_score_from_logits(logits))
