"""Gradient layers inside a generator while it trains."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call, unpair
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.callbacks.step_callback import StepCallback
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.models.splitting import check_insert, cut


class GradientLayers(StepCallback):
    """Trains a GAN's generator with gradient layers in it, along the critic as it is now.

    The generator is cut into base and head, and its samples are made as head(G(… G(base(z)))),
    with `G(z') = z' + step_size * ∇(f∘head)(z')` by the present critic f and head. Use it to let a
    generator follow the critic from the start; for one that has stopped improving use `FineTuner`,
    whose layers stay. Only `sampler()` has the layers: `gan.generator`, `gan.predict` and an export
    of the GAN are without them.

    Source: Nitanda & Suzuki, AISTATS 2018, Eq. (1), inserted during training. Inside a gradient
    layer critic and head are frozen and in inference mode: the generator's gradient goes through
    it to the base, and to the head from outside.

    Args:
        step_size: η, a positive finite number.
        insert: `"bottom"`, which moves the latent, or the name of the layer before them.
        layers: how many, an integer from 1 to 1,000.

    Raises:
        ValueError: if a number is out of range, or the generator cannot be cut there.
        TypeError: if the trainer's generator has no parameters to move, as a FineTuner's.

    Example:
        >>> callbacks = [GradientLayers(step_size=0.1), kgl.callbacks.GradientPenalty(10.0)]
    """

    def __init__(self, step_size: float, insert: str = "bottom", layers: int = 1):
        super().__init__()
        self.step_size = _checks.positive_number("step_size", step_size)
        self.layers = _checks.positive_int("layers", layers, most=1000)
        check_insert(insert)
        if insert == "top":
            raise ValueError(
                "While a generator trains, gradient layers go in at the bottom or after a layer. "
                "Expected insert='bottom' or a layer's name, such as that of the one before the "
                "output activation. Received: insert='top'"
            )
        self.insert = insert
        self._parts: tuple[keras.Model, keras.Model] | None = None

    def set_model(self, model) -> None:
        """Join the trainer's step, if its generator can be cut."""
        if hasattr(model, "generator_gradients"):
            self._parts = cut(model.generator, self.insert, model.latent, "auto")
        super().set_model(model)

    def trace_key(self) -> tuple:
        """The settings: parts cut anew are those of the same generator."""
        return type(self), (self.step_size, self.insert, self.layers)

    def generate(self, z: tf.Tensor) -> tf.Tensor:
        """The samples that latents, or (latents, conditions), lead to through the layers."""
        (base, head), critic = self._joined(), self.model.critic
        z, condition = unpair(z)

        def climbed(x):
            return call(critic, call(head, x, condition, training=False), condition, training=False)

        x = tf.cast(call(base, z, condition, training=True), self.model.flow_dtype)
        frozen = [(v, tf.stop_gradient(tf.convert_to_tensor(v))) for v in head.variables]
        for _ in range(self.layers):
            with keras.StatelessScope(state_mapping=frozen):
                gradient = input_gradient(climbed, x)
            x += self.step_size * gradient
        return call(head, x, condition, training=True)

    def sampler(self) -> Sampler:
        """An independent copy of the generator with its gradient layers as they are now."""
        (base, head), gan = self._joined(), self.model
        sampler = Sampler.copy_of(base, gan.critic, head, gan.latent, self.step_size, self.layers)
        for _ in range(self.layers):
            sampler.stack.append()
        if sampler.conditions is not None:
            sampler.conditions.set_weights(gan.conditions.get_weights())
        return sampler

    def _joined(self):
        """Base and head of the GAN's generator."""
        if self._parts is None:
            raise ValueError(
                "The sampler is made of the GAN that was trained with this callback. Expected a "
                "call of `fit` with it, or of `set_model(gan)`, before. Received: neither"
            )
        return self._parts
