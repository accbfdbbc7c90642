"""A GAN whose generator looks some steps of the critic ahead."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.objectives import Objective
from keras_gradlayer.trainers._lookahead import Lookahead
from keras_gradlayer.trainers.gan import GAN


@keras.saving.register_keras_serializable("keras_gradlayer")
class UnrolledGAN(GAN):
    """The generator descends V against the critic as it will be after some more steps.

    Use it where a GAN falls from mode to mode: the generator sees how the critic will answer its
    move. The critic's steps are unrolled on the present batch, with gradients through them, and
    then forgotten; the critic itself trains as in a `GAN`. They foresee all that an update changes:
    batch statistics, spectral normalization, constraints, clipping. A generator move costs about
    `steps` times three critic updates.

    Source: Metz et al., "Unrolled Generative Adversarial Networks", ICLR 2017, Eqs. (7) to (10).
    The unrolled steps are those of the critic's optimizer, as in its published toy; with SGD, or a
    `step_size`, they are the plain gradient ascent on V − R of Eq. (8). The generator descends
    all of V, since the real part now depends on it, too; so `"non_saturating"` is `"minimax"`
    here. No gradient goes through a step that has no derivative, such as Adam's where its second
    moment is exactly 0. Through batch normalization TensorFlow's second derivatives, and so these
    gradients, are approximate.

    Args:
        generator: as for `GAN`.
        critic: as for `GAN`.
        steps: k, how many steps to look ahead, from 1 to 1,000.
        step_size: `None` looks ahead through the critic's optimizer, `keras.optimizers.SGD`,
            `Adam` or `RMSprop`; a number is the size of plain gradient steps, whatever the
            optimizer.
        objective: as for `GAN`.
        latent: as for `GAN`.
        **kwargs: as for `GAN`.

    Call arguments:
        z: latents of shape (batch, *latent.shape).

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    Raises:
        ValueError: as for `GAN`, and if `steps` is not such an integer, or `step_size` not
            positive; from `compile`, if there is none and the optimizer cannot be followed.

    Example:
        >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> gan = UnrolledGAN(generator, critic, steps=5)
        >>> gan.compile()
        >>> history = gan.fit(keras.random.uniform((64, 2)), verbose=0)
    """

    shares_batches = False
    _SETTINGS = ("simultaneous", "steps", "step_size")

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        steps: int = 5,
        step_size: float | None = None,
        objective: str | Objective = "minimax",
        latent: Latent | None = None,
        **kwargs,
    ):
        steps = _checks.positive_int("steps", steps, most=1000)
        if step_size is not None:
            step_size = _checks.positive_number("step_size", step_size)
        super().__init__(generator, critic, objective, latent, **kwargs)
        self.steps, self.step_size = steps, step_size

    def compile(self, **kwargs) -> None:  # type: ignore[override]  # by name alone
        """Choose the optimizers, as for a `GAN`; the critic's must be one that can be unrolled."""
        super().compile(**kwargs)
        self._lookahead()

    def generator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """V of the critic that the unrolled steps lead to."""

        def critic_loss():
            scores = self.scores(real), self.scores(fake)
            penalty = self.terms("critic_loss", self.critic, real, fake)
            penalty += self.terms("score_loss", None, *scores)
            return penalty - self.objective.value(*scores)

        with self._lookahead() as ahead:
            for _ in range(self.steps):
                ahead.step(critic_loss)
                for callback in self.loop.callbacks:
                    callback.after_critic_update()
            value = self._value(real, fake)
        for seed in self.seed_states():  # random numbers that were drawn are not drawn again
            if (state := ahead.get_current_value(seed)) is not None:
                seed.assign(state)
        return value

    def _lookahead(self):
        return Lookahead(self.critic.trainable_variables, self.critic_optimizer, self.step_size)

    def _value(self, real, fake):
        return self.objective.value(self.scores(real), self.fake_scores(fake))
