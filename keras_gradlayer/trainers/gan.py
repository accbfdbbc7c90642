"""A GAN: the generator moves by its parameters."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call, given, pair, spec_of
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.conditions import conditions_for, standard_inputs
from keras_gradlayer.models.logits import gives_probabilities
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.objectives import Objective
from keras_gradlayer.trainers.adversarial_trainer import AdversarialTrainer


@keras.saving.register_keras_serializable("keras_gradlayer")
class GAN(AdversarialTrainer):
    """A generator and a critic, trained against each other by `fit`.

    With the defaults and the callbacks `CriticInnerLoop(5)` and `GradientPenalty(10.0)` it is
    WGAN-GP. `predict(latents)` and calling the model give samples, with the generator in
    inference mode.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, Algorithm 1.
    Departures: Adam's beta_1 is 0.5 by default, as in Nitanda & Suzuki's experiments (0 there).
    The generator makes the samples it shows the critic in training mode, so its batch
    normalization statistics move with the critic's updates too.

    Args:
        generator: a Keras model, latent -> sample. It is trained in place. That of a conditional
            GAN takes [latent, condition] in any order, or the condition alone.
        critic: a Keras model, sample -> score of shape (batch,) or (batch, 1). It is trained in
            place. That of a conditional GAN takes [sample, condition] in any order; where both are
            of one shape, as with images from images, the inputs' names must tell which is which,
            such as "sample" and "condition".
        objective: `"wasserstein"`, `"minimax"`, `"non_saturating"`, `"kl"`, `"hinge"`,
            `"least_squares"`, or an `Objective`.
        latent: the latent distribution, from `kgl.latents`; a standard normal in the shape of
            the generator's input by default.
        simultaneous: whether each player's gradient is taken before either has moved, as the
            analyses of stability have it; by default the generator moves after the critic.
        **kwargs: the arguments of every Keras model (`name`).

    Call arguments:
        z: latents of shape (batch, *latent.shape); of a conditional GAN also [z, condition].
        condition: what to sample, for a conditional GAN, as `Sampler` has it.

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    `fit` logs the epoch means of `critic_loss` (what the critic descends, penalty − V),
    `wasserstein` (E f(x) − E f(g(z)), with the Wasserstein objective the critic's estimate of W1),
    `penalty` (the sum in it of the callbacks' weighted terms and of what the regularizers of the
    critic's weights give) and `generator_loss` (what the generator descends, with such terms of its
    own). Regularizers of activities, and what layers give to `add_loss`, take no part.

    Raises:
        ValueError: if the critic does not take the generator's samples or does not give one score
            a sample.

    Example:
        >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> gan = GAN(generator, critic)
        >>> gan.compile()
        >>> history = gan.fit(keras.random.uniform((64, 2)), verbose=0)
    """

    move_logs = ("generator_loss",)
    _PARTS = ("generator", "critic", "objective", "latent")
    _SETTINGS: tuple[str, ...] = ("simultaneous",)

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model,
        objective: str | Objective = "wasserstein",
        latent: Latent | None = None,
        simultaneous: bool = False,
        **kwargs,
    ):
        _checks.instance_of("generator", generator, keras.layers.Layer, "a Keras model")
        _checks.instance_of("critic", critic, keras.layers.Layer, "a Keras model")
        generator, critic, condition = standard_inputs(generator, critic, join_latents=False)
        if condition is not None and spec_of(critic) is None:
            raise _checks.StructureError(generator, "input", generator.inputs)
        latent = default_latent(generator) if latent is None else latent
        _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
        _checks.boolean("simultaneous", simultaneous)
        for name, part in (("generator", generator), ("critic", critic)):
            _checks.finite_weights(name, part.variables)
        sample_shape = _checks.shape_of_outputs(
            "generator", generator, latent.shape, condition=condition
        )[1:]
        _checks.scores_shape("critic", critic, sample_shape, condition=condition)
        super().__init__(critic, objective, latent, **kwargs)
        if self.objective.logits and gives_probabilities(critic, sample_shape):
            _checks.warn(
                "`critic` only gives scores between 0 and 1, as one that ends with a sigmoid does. "
                "Expected scores without bounds (logits): leave the sigmoid out."
            )
        self.generator = generator
        self.simultaneous = bool(simultaneous)
        self.sample_shape = tuple(sample_shape)
        self.condition_spec, self.conditions = condition, conditions_for(generator, critic)
        self(pair(keras.KerasTensor((None, *latent.shape)), condition))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Generator and critic are built already."""
        self.built = True

    def compile(
        self,
        *positional,
        generator_optimizer: str | keras.optimizers.Optimizer | None = None,
        critic_optimizer: str | keras.optimizers.Optimizer | None = None,
        **kwargs,
    ) -> None:
        """Choose the optimizers and how the steps are compiled.

        Args:
            *positional: deprecated; name the optimizers.
            generator_optimizer: a Keras optimizer or its name; Adam(1e-4, beta_1=0.5, beta_2=0.9)
                by default.
            critic_optimizer: the same for the critic.
            **kwargs: `jit_compile="auto"`, `run_eagerly=False`,
                `steps_per_execution="auto"`.

        With two optimizers there is none that Keras' learning rate callbacks could act on, and
        `fit` refuses them: say which by `gan.optimizer = gan.critic_optimizer` after this, or give
        the optimizers schedules of `keras.optimizers.schedules` instead.
        """
        if positional:
            names = "generator_optimizer", "critic_optimizer"
            generator_optimizer, critic_optimizer = self._named(*names, given=positional)
        super().compile(critic_optimizer=critic_optimizer, **kwargs)
        self.generator_optimizer = self._optimizer("generator", generator_optimizer)

    def call(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Samples, with the generator in inference mode."""
        z, condition = given(self, z, condition)
        _checks.latents(z, self.latent.shape)
        return call(self.generator, z, condition, training=False)

    def generate(
        self, n: int | tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """`n` samples, with the generator, and what callbacks put in it, in training mode."""
        z = self.latent.sample(n, self.seed_generator)
        for callback in self.loop.callbacks:
            if callback.generates:
                return pair(callback.generate(pair(z, condition)), condition)
        return pair(call(self.generator, z, condition, training=True), condition)

    def critic_update(self, real: tf.Tensor) -> dict:
        """One step of the critic up V − R; with `simultaneous`, of the generator, too."""
        if not self.simultaneous:
            return super().critic_update(real)
        gradients = self.generator_gradients(real)
        super().critic_update(real)
        self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        return self.get_metrics_result()

    def generator_move(self, real: tf.Tensor) -> dict:
        """One step of the generator down V; with `simultaneous` it has been taken already."""
        if not self.simultaneous:
            gradients = self.generator_gradients(real)
            self.generator_optimizer.apply(gradients, self.generator.trainable_variables)
        return self.get_metrics_result()

    def generator_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """What the generator descends, before the callbacks' terms: a scalar."""
        return self.objective.generator_loss(self.fake_scores(fake))

    def generator_gradients(self, real: tf.Tensor) -> list[tf.Tensor]:
        """The gradient of what the generator descends, one tensor a trainable variable."""
        with tf.GradientTape() as tape:
            real, fake = self.batches(real)
            loss = tf.cast(self.generator_loss(real, fake), self.flow_dtype)
            loss += self.terms("generator_loss", self.generator, real, fake)
            scaled = self.generator_optimizer.scale_loss(loss / self.replicas)
        self.log(generator_loss=loss)
        return tape.gradient(scaled, self.generator.trainable_variables)

    def make_train_function(self, force: bool = False) -> None:
        """As every trainer's; simultaneous updates come one for one."""
        if self.simultaneous and self.critic_steps != 1:
            raise ValueError(
                "With `simultaneous` updates both players move at each step. Expected no "
                f"CriticInnerLoop, or CriticInnerLoop(1). Received: {self.critic_steps} steps"
            )
        super().make_train_function(force)

    def output_range(self) -> tuple[float, float]:
        """The range of the generator's output activation, where it can be seen."""
        return output_range(self.generator)
