"""The gradient penalty of DRAGAN."""

import tensorflow as tf

from keras_gradlayer import _checks, _random
from keras_gradlayer.callbacks.gradient_penalty import GradientPenalty


class DRAGANPenalty(GradientPenalty):
    """Holds the critic's gradient norm at a target around the data.

    Adds `weight * E (‖∇f(x + δ)‖ − target)²` to the critic's loss, over real samples x.

    Source: Kodali et al., "On Convergence and Stability of GANs", 2017, section 3.2. The paper
    draws δ from N(0, c I), here with standard deviation `stddev` · std, std being that of all
    values of the batch; its published code takes δ = α · 0.5 · std · u, with u uniform in [0, 1)
    for each value and α for each sample.

    Args:
        weight: λ, non-negative.
        stddev: size of the perturbation in units of the batch's standard deviation, positive.
        target: k, the norm aimed at, non-negative.
        noise: `"uniform"`, the code's, or `"normal"`, the paper's.

    Raises:
        ValueError: if a number is out of range, or `noise` is another.

    Example:
        >>> callbacks = [DRAGANPenalty(weight=10.0, stddev=0.5)]
    """

    def __init__(
        self, weight: float = 10.0, stddev: float = 0.5, target: float = 1.0, noise: str = "uniform"
    ):
        super().__init__(weight, target=target)
        self.stddev = _checks.positive_number("stddev", stddev)
        if not _checks.among(noise, ("uniform", "normal")):
            raise ValueError(f"`noise` must be 'uniform' or 'normal'. Received: noise={noise!r}")
        self.noise = noise

    def points(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """Real samples, perturbed."""
        seed, scale = self.model.seed_generator, self.stddev * tf.math.reduce_std(real)
        shape = tf.shape(real)
        if self.noise == "normal":
            return real + scale * _random.normal(shape, seed, dtype=real.dtype)
        u = _random.uniform(shape, seed, dtype=real.dtype)
        return real + self.fractions(real) * scale * u
