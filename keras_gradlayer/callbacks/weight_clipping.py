"""The weight clipping of the first WGAN."""

import keras

from keras_gradlayer import _checks
from keras_gradlayer.callbacks.step_callback import StepCallback


class WeightClipping(StepCallback):
    """Clips every trainable variable of the critic to [−limit, limit] after each of its updates.

    It holds the critic Lipschitz, with a constant that depends on its architecture; a gradient
    penalty does so directly, and the two exclude each other. The paper's settings go with it:
    `CriticInnerLoop(5)`, batches of 64, and `keras.optimizers.RMSprop(5e-5)` for both.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, Algorithm 1.

    Args:
        limit: c, positive.

    Raises:
        ValueError: if `limit` is not a positive finite number, or a gradient penalty is used, too.

    Example:
        >>> callbacks = [kgl.callbacks.CriticInnerLoop(5), WeightClipping(limit=0.01)]
    """

    excludes = ("GradientPenalty",)

    def __init__(self, limit: float = 0.01):
        super().__init__()
        self.limit = _checks.positive_number("limit", limit)

    def after_critic_update(self) -> None:
        """Clip."""
        for v in self.model.critic.trainable_variables:
            v.assign(keras.ops.clip(v, -self.limit, self.limit))
