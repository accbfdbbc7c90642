"""Noise on what the critic sees."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks, _random
from keras_gradlayer.callbacks.step_callback import StepCallback


class InstanceNoise(StepCallback):
    """Adds normal noise to what the critic is given, real and generated alike.

    A critic that tells two distributions apart perfectly teaches the generator nothing; with noise
    they overlap. The noise falls to zero linearly: in the end the samples themselves are compared.

    Source: Sønderby et al., "Amortised MAP Inference for Image Super-resolution", ICLR 2017,
    section 3.2; Arjovsky & Bottou, "Towards Principled Methods for Training GANs", ICLR 2017.

    Args:
        stddev: standard deviation at the first epoch, in units of the samples, positive.
        decay_epochs: epochs after which it is zero; `None` keeps it.

    Raises:
        ValueError: if `stddev` is not positive, or `decay_epochs` not an integer of at least 1.

    Example:
        >>> callbacks = [InstanceNoise(stddev=0.1, decay_epochs=50)]
    """

    def __init__(self, stddev: float, decay_epochs: int | None = None):
        super().__init__()
        self.stddev = _checks.positive_number("stddev", stddev)
        if decay_epochs is not None:
            decay_epochs = _checks.positive_int("decay_epochs", decay_epochs)
        self.decay_epochs = decay_epochs

    @property
    def present(self) -> keras.Variable:
        """The standard deviation of this epoch."""
        return self.variable("stddev", self.stddev)

    def set_model(self, model: keras.Model) -> None:
        """Join the trainer's step, with the noise of the first epoch."""
        super().set_model(model)
        self.present.assign(self.stddev)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the noise of this epoch."""
        left = 1.0 if self.decay_epochs is None else max(0.0, 1 - epoch / self.decay_epochs)
        self.present.assign(self.stddev * left)

    def critic_inputs(self, x: tf.Tensor) -> tf.Tensor:
        """`x` with noise."""
        noise = _random.normal(tf.shape(x), self.model.seed_generator, dtype=x.dtype)
        return x + tf.cast(self.present, x.dtype) * noise
