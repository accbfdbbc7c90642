"""The regularizer that makes gradient descent GANs locally stable."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.callbacks.step_callback import StepCallback


class GeneratorGradientRegularizer(StepCallback):
    """The generator descends V + weight · ‖∇_{θ_D} V‖²: it avoids where the critic can still gain.

    With the Wasserstein objective plain simultaneous gradient descent circles around the
    equilibrium; with this term it converges to it. The paper analyses the updates of
    `GAN(..., simultaneous=True)`; its published toy has alternating ones, the default. The term is
    part of the logged `generator_loss`.

    Source: Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS
    2017, Eq. (4).

    Args:
        weight: η, non-negative.

    Raises:
        ValueError: if `weight` is negative or not finite.
        ValueError: if the trainer's batches are shared between replicas: the norm is that of the
            whole batch's gradient.
        TypeError: if the trainer's generator has no parameters to move, as a FineTuner's.

    Example:
        >>> callbacks = [GeneratorGradientRegularizer(weight=0.5)]
    """

    moves_parameters = True

    def __init__(self, weight: float = 0.5):
        super().__init__()
        self.weight = _checks.positive_number("weight", weight, zero_ok=True)

    def set_model(self, model: keras.Model) -> None:
        """Join the trainer's step."""
        if getattr(model, "replicas", 1) > 1:
            raise ValueError(
                "GeneratorGradientRegularizer needs the gradient of the whole batch. Expected one "
                f"replica. Received: {model.replicas}"
            )
        super().set_model(model)

    def generator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The weighted squared norm, a scalar."""
        trainer = self.model
        with tf.GradientTape() as tape:
            value = trainer.objective.value(trainer.scores(real), trainer.fake_scores(fake))
        gradients = tape.gradient(value, trainer.critic.trainable_variables)
        squares = [tf.reduce_sum(tf.square(g)) for g in gradients if g is not None]
        return self.weight * tf.cast(tf.add_n(squares), "float32")
