"""The gradient penalty of WGAN-GP."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._gradients import input_gradient, sample_norm
from keras_gradlayer.callbacks.step_callback import StepCallback


class GradientPenalty(StepCallback):
    """Holds the critic's gradient norm at a target between real and generated samples.

    Adds `weight * E (‖∇f(x̂)‖ − target)²` to the critic's loss, with x̂ = ε x + (1 − ε) g(z) and
    one ε per sample, uniform in [0, 1). The norm is over all non-batch axes, in the space that
    the critic sees; its gradient is finite where the norm is zero.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, Eq. (3);
    one-sided: `(max(0, ‖∇f‖ − target))²`, their section 4.

    Args:
        weight: λ, non-negative.
        one_sided: penalize only norms above the target.
        target: the norm aimed at, non-negative.

    Raises:
        ValueError: if `weight` or `target` is negative or not finite.

    Example:

    >>> callbacks = [GradientPenalty(weight=10.0, one_sided=True)]
    """

    def __init__(self, weight: float = 10.0, one_sided: bool = False, target: float = 1.0):
        super().__init__()
        self.weight = _checks.positive_number("weight", weight, zero_ok=True)
        self.one_sided = bool(one_sided)
        self.target = _checks.positive_number("target", target, zero_ok=True)

    def critic_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The weighted penalty, a scalar."""
        n = real.shape[0] or tf.shape(real)[0]
        epsilon = keras.random.uniform(
            (n, *[1] * (real.shape.rank - 1)), seed=self.model.seed_generator, dtype=real.dtype
        )
        x = epsilon * real + (1 - epsilon) * fake
        excess = sample_norm(input_gradient(self.model.scores, x)) - self.target
        if self.one_sided:
            excess = tf.nn.relu(excess)
        return self.weight * tf.reduce_mean(tf.square(excess))
