"""The gradient penalty on real samples."""

import tensorflow as tf

from keras_gradlayer.callbacks.gradient_penalty import GradientPenalty


class R1Penalty(GradientPenalty):
    """Keeps the critic flat around the data: `weight/2 * E ‖∇f(x)‖²` over real samples.

    Use it with any objective of a GAN: with it the two players converge where they would circle
    without. Where samples and data are alike, it leaves the critic nothing to tell them apart by.

    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018,
    Eq. (9).

    Args:
        weight: γ, non-negative.

    Raises:
        ValueError: if `weight` is negative or not finite.

    Example:
        >>> callbacks = [R1Penalty(weight=10.0)]
    """

    def __init__(self, weight: float = 10.0):
        super().__init__(weight, target=0.0)

    def critic_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The weighted penalty, a scalar."""
        return super().critic_loss(real, fake) / 2

    def points(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The real samples."""
        return real
