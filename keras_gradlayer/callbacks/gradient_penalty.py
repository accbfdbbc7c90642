"""The gradient penalty of WGAN-GP."""

import tensorflow as tf

from keras_gradlayer import _checks, _random
from keras_gradlayer._conditions import pair, unpair
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

    alone = True

    def __init__(self, weight: float = 10.0, one_sided: bool = False, target: float = 1.0):
        super().__init__()
        self.weight = _checks.positive_number("weight", weight, zero_ok=True)
        self.one_sided = _checks.boolean("one_sided", one_sided)
        self.target = _checks.positive_number("target", target, zero_ok=True)

    def critic_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The weighted penalty, a scalar."""
        x, condition = unpair(self.points(real, fake))
        given = () if condition is None else (condition,)
        gradient = input_gradient(lambda x: self.model.scores(x, *given), x)
        excess = sample_norm(gradient) - self.target
        if self.one_sided:
            excess = tf.nn.relu(excess)
        return self.weight * tf.reduce_mean(tf.square(excess))

    def points(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """Where the norm is taken: a point between each real sample and a generated one.

        The condition is that of the nearer of the two, where they have any.
        """
        epsilon, (a, b) = self.fractions(real), self.conditions
        if a is not None and a is not b:
            near = tf.reshape(epsilon >= 0.5, [-1] + [1] * (a.shape.rank - 1))
            a = tf.where(near, a, b)
        return pair(epsilon * real + (1 - epsilon) * fake, a)

    def fractions(self, x: tf.Tensor) -> tf.Tensor:
        """A number for each sample, uniform in [0, 1), that broadcasts over it."""
        shape = (x.shape[0] or tf.shape(x)[0], *[1] * (x.shape.rank - 1))
        return _random.uniform(shape, self.model.seed_generator, dtype=x.dtype)
