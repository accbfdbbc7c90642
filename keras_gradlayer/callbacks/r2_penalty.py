"""The gradient penalty on generated samples."""

import tensorflow as tf

from keras_gradlayer._conditions import pair
from keras_gradlayer.callbacks.r1_penalty import R1Penalty


class R2Penalty(R1Penalty):
    """Keeps the critic flat around the samples: `weight/2 * E ‖∇f(g(z))‖²`.

    Use it as `R1Penalty`, or together with it.

    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018,
    Eq. (10).

    Args:
        weight: γ, non-negative.

    Raises:
        ValueError: if `weight` is negative or not finite.

    Example:
        >>> callbacks = [R2Penalty(weight=10.0)]
    """

    def points(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The generated samples."""
        return pair(fake, self.conditions[1])
