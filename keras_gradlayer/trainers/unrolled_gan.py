"""A GAN whose generator looks some steps of the critic ahead."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.objectives import Objective
from keras_gradlayer.trainers._lookahead import gradient_steps, optimizer_steps
from keras_gradlayer.trainers.gan import GAN


@keras.saving.register_keras_serializable("keras_gradlayer")
class UnrolledGAN(GAN):
    """The generator descends V against the critic as it will be after some more steps.

    Use it where a GAN falls from mode to mode: the generator sees what its move provokes. The
    critic's steps are unrolled on the present batch, with gradients through them, and then
    forgotten; the critic itself trains as in a `GAN`. A generator move costs about `steps` times
    three critic updates.

    Source: Metz et al., "Unrolled Generative Adversarial Networks", ICLR 2017, Eqs. (7) to (10).
    The unrolled steps are those of the critic's optimizer, as in its published toy; with SGD, or a
    `step_size`, they are the plain gradient ascent on V − R of Eq. (8). The generator descends
    all of V, of which the real part now depends on it, too; so `"non_saturating"` is `"minimax"`
    here. Where a second moment of Adam is exactly 0, no gradient goes through its root.

    Args:
        generator: as for `GAN`.
        critic: as for `GAN`.
        steps: k, how many steps to look ahead; 0 is a `GAN`.
        step_size: `None` looks ahead through the critic's optimizer, `keras.optimizers.SGD` or
            `Adam`; a number is the size of plain gradient steps, whatever the optimizer.
        objective: as for `GAN`.
        latent: as for `GAN`.
        **kwargs: as for `GAN`.

    Call arguments:
        z: latents of shape (batch, *latent.shape).

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    Raises:
        ValueError: as for `GAN`, and if `steps` is not an integer of at least 0, or `step_size` not
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
        steps = _checks.positive_int("steps", steps, zero_ok=True)
        if step_size is not None:
            step_size = _checks.positive_number("step_size", step_size)
        super().__init__(generator, critic, objective, latent, **kwargs)
        self.steps, self.step_size = steps, step_size

    def compile(self, *args, **kwargs) -> None:
        """Choose the optimizers, as for a `GAN`, and see that the critic's can be unrolled."""
        super().compile(*args, **kwargs)
        if self.steps:
            self._step()

    def generator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """V of the critic that the unrolled steps lead to."""
        variables, seeds = self.critic.trainable_variables, self.seed_states()
        values = [tf.convert_to_tensor(v) for v in variables]
        states = [tf.convert_to_tensor(s) for s in seeds]  # each step draws its own numbers
        step = self._step() if self.steps else None
        for _ in range(self.steps):
            with tf.GradientTape() as tape:
                tape.watch(values)
                with keras.StatelessScope([*zip(variables, values), *zip(seeds, states)]) as scope:
                    penalty = self.terms("critic_loss", self.critic, real, fake)
                    loss = penalty - self._value(real, fake)
            states = [scope.get_current_value(s) for s in seeds]
            values = step(values, tape.gradient(loss, values))
            values = self._constrained(variables, values)
        for seed, state in zip(seeds, states):
            seed.assign(state)
        with keras.StatelessScope(list(zip(variables, values))):
            return self._value(real, fake)

    def _step(self):
        if self.step_size is None:
            return optimizer_steps(self.critic_optimizer, self.critic.trainable_variables)
        return gradient_steps(self.step_size)

    def _constrained(self, variables, values):
        """The values after the constraints, and what callbacks do, that follow an update."""
        values = [v.constraint(x) if v.constraint else x for v, x in zip(variables, values)]
        with keras.StatelessScope(list(zip(variables, values))) as scope:
            for callback in self.loop.callbacks:
                callback.after_critic_update()
        return [scope.get_current_value(v) for v in variables]

    def _value(self, real, fake):
        return self.objective.value(self.scores(real), self.scores(fake))
