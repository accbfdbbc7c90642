"""The Fréchet distance between two sets of features."""

from numpy.typing import ArrayLike

from keras_gradlayer.metrics._features import two_sets


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Fréchet distance between the normal distributions fitted to two sets of features.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). With Inception's pooled features it is the FID.
    Distances of different features or numbers of samples do not compare.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, through TF-GAN.

    Args:
        a: array of features, shape (n, d).
        b: array of features, shape (m, d).

    Returns:
        The distance, a float.

    Raises:
        ValueError: if the arrays are not of such shapes or have fewer than two rows.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet_distance(x, x + 1), 3)
    3.0
    """
    from keras_gradlayer._tfgan import classifier_metrics

    a, b = two_sets(a, b, least=2)
    return float(classifier_metrics.frechet_classifier_distance_from_activations(a, b))
