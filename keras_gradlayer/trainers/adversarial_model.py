"""The two players of a GAN and the steps that train them."""

import collections
from collections.abc import Mapping, MutableMapping

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _xla, objectives
from keras_gradlayer._conditions import call, spec_of, unpair
from keras_gradlayer._serialization import Configured
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.sampler import flow_dtype
from keras_gradlayer.trainers.loop_state import LoopState

Sides = collections.namedtuple("Sides", ["real", "fake"], defaults=[None, None])


class AdversarialModel(Configured, _xla.AutoXLA, keras.Model):
    """A critic, something that makes samples for it, and the steps that train them.

    Subclasses say how samples are made (`generate`) and what a move is (`generator_move`);
    callbacks derived from `kgl.callbacks.StepCallback` add their terms. `AdversarialTrainer` adds
    `compile` and `fit`.

    Args:
        critic: a Keras model, sample -> score.
        objective: name or instance of the objective.
        latent: the latent distribution.
        **kwargs: the arguments of every Keras model (`name`).
    """

    move_logs: tuple[str, ...] = ()
    """Names of what `generator_move` logs."""

    compiled_move = True
    """Whether `generator_move` is all there is to a move."""

    critic_training = True
    """Whether the critic trains in training mode, or in inference mode."""

    shares_batches = True
    """Whether replicas that have a part of each batch can do what one device does."""

    conditions_of = Sides()
    """The conditions of the present batches, of data and of generated samples."""

    condition_spec: keras.KerasTensor | None = None
    """What a condition looks like, for a conditional GAN."""

    def __init__(
        self, critic: keras.Model, objective: str | objectives.Objective, latent: Latent, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)  # the parts have policies of their own
        self.critic = critic
        self.objective = objectives.get(objective)
        self.latent = latent
        self.seed_generator = keras.random.SeedGenerator()
        self.strategy = tf.distribute.get_strategy()
        self.loop = LoopState()
        self.means = {
            name: keras.metrics.Mean(name=name)
            for name in ("critic_loss", "wasserstein", "penalty", *self.move_logs)
        }

    # ---- what subclasses define -------------------------------------------------------------

    def generate(
        self, n: int | tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """`n` samples to show the critic, with their conditions if there are any.

        `condition` is what a batch of data has; samples may have others.
        """
        raise NotImplementedError

    def generator_move(self, real: tf.Tensor) -> dict:
        """The compiled part of a move; `real` is the last batch the critic saw."""
        raise NotImplementedError

    def move(self, real: tf.Tensor) -> dict:
        """Move the generator once, in Python."""
        assert self.loop.programs, "made before the first update"
        logs = self.loop.programs.move(real)
        self.after_move()
        return logs

    def after_move(self) -> None:
        """Call the hooks that follow a move."""
        for callback in self.loop.callbacks:
            callback.after_generator_move()

    @property
    def default_critic_steps(self) -> int:
        """Critic updates before each move where no callback says how many."""
        return 1

    def output_range(self) -> tuple[float, float]:
        """The least and largest value of a sample."""
        raise NotImplementedError

    def prepare(self, batch_size: int) -> None:
        """Make what the updates need beyond the models; called before the first of them."""

    def begin(self, real: tf.Tensor) -> dict | None:
        """Run before the first update of a fit, with its batch; logs, if there are any."""

    def compiled_parts(self) -> list[keras.layers.Layer]:
        """What the programs compute with."""
        return [self.generator, self.critic] if self.generator is not None else [self.critic]

    def also_run(self) -> list:
        """What else takes part in the programs."""
        return [self.latent, self.objective, *self.loop.callbacks]

    # ---- the compiled steps -----------------------------------------------------------------

    @property
    def replicas(self) -> int:
        """How many replicas the distribution strategy has."""
        return self.strategy.num_replicas_in_sync

    @property
    def flow_dtype(self) -> str:
        """What samples and scores are computed in: float64 for a critic of that, else float32."""
        return flow_dtype(*self.compiled_parts())

    def critic_update(self, real: tf.Tensor) -> dict:
        """One step of the critic up V − R."""
        real, fake = self.batches(real)
        fake = tf.stop_gradient(fake)
        with tf.GradientTape() as tape:
            real_scores, fake_scores = self.scores(real), self.fake_scores(fake)
            value = self.objective.value(real_scores, fake_scores)
            penalty = self.terms("critic_loss", self.critic, real, fake)
            penalty += self.terms("score_loss", None, real_scores, fake_scores)
            loss = penalty - value
            scaled = self.critic_optimizer.scale_loss(loss / self.replicas)
        variables = self.critic.trainable_variables
        self.critic_optimizer.apply(_gradient(tape, scaled, variables), variables)
        for callback in self.loop.callbacks:
            callback.after_critic_update()
        self.log(
            critic_loss=loss + self.alarm(real),
            wasserstein=tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores),
            penalty=penalty,
        )
        return self.get_metrics_result()

    def batches(self, real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch of data, and as many samples, as the critic sees them."""
        real, condition = unpair(real)
        given = () if condition is None else (condition,)
        fake = self.generate(real.shape[0] or tf.shape(real)[0], *given)
        fake, fake_condition = unpair(fake)
        self.conditions_of = Sides(condition, fake_condition)
        real, fake = tf.cast(real, self.flow_dtype), tf.cast(fake, self.flow_dtype)
        return self.critic_inputs(real), self.critic_inputs(fake)

    def scores(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """The critic's scores in the mode that it trains in, at least in float32.

        Args:
            x: samples as the critic sees them.
            condition: their conditions; by default, within a step, those of the batch of data.
                Those of the generated samples are `conditions_of.fake`.

        Raises:
            ValueError: outside a step, for none where the critic takes one.
        """
        condition = self.conditions_of.real if condition is None else condition
        if condition is None and spec_of(self.critic) is not None:
            raise ValueError(
                f"'{self.critic.name}' scores samples with their conditions. Expected "
                "`condition`. Received: None"
            )
        found = call(self.critic, x, condition, training=self.critic_training)
        return tf.cast(found, self.flow_dtype)

    def fake_scores(self, fake: tf.Tensor) -> tf.Tensor:
        """The scores of generated samples, with the conditions that they were made for."""
        given = [c for c in self.conditions_of[1:] if c is not None]
        return self.scores(fake, *given)

    def critic_inputs(self, x: tf.Tensor) -> tf.Tensor:
        """What the critic is given in the place of `x`."""
        for callback in self.loop.callbacks:
            x = callback.critic_inputs(x)
        return x

    def terms(
        self, name: str, model: keras.Model | None, real: tf.Tensor, fake: tf.Tensor
    ) -> tf.Tensor:
        """What callbacks, and the regularizers of a model's weights, if given, add to a loss."""
        terms = [getattr(c, name)(real, fake) for c in self.loop.callbacks]
        variables = [] if model is None else model.trainable_variables
        terms += [v.regularizer(v) for v in variables if v.regularizer]
        terms = [tf.cast(t, self.flow_dtype) for t in terms if t is not None]
        return tf.add_n([tf.zeros((), self.flow_dtype), *terms])

    def alarm(self, real: tf.Tensor) -> tf.Tensor:
        """NaN where the data are not finite, else 0: a ReLU may make a 0 of a NaN."""
        finite = tf.reduce_all(tf.math.is_finite(real))
        if self.replicas == 1:
            self.loop.bad_batches.assign_add(tf.where(finite, 0.0, 1.0))
        return tf.cast(tf.where(finite, 0.0, np.nan), real.dtype)

    def log(self, **values) -> None:
        """Take values into the epoch's means."""
        for name, value in values.items():
            if name in self.means:
                self.means[name].update_state(value)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that `fit` logs."""
        return list(self.means.values())

    def get_metrics_result(self) -> dict:
        """The means; `loss` is the critic's, under the name that Keras' callbacks look for."""
        means = super().get_metrics_result()
        return {"loss": means["critic_loss"], **means}

    # ---- state ------------------------------------------------------------------------------

    def seed_states(self) -> list[keras.Variable]:
        """The states of seed generators, which Keras keeps out of the weights it saves."""
        weights = {id(w) for w in self.weights}
        return [v for v in self.variables if id(v) not in weights]

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save where the loop and its random streams stand."""
        store["updates"] = self.loop.since_move
        for i, state in enumerate(self.seed_states()):
            store[f"seed_{i}"] = state.numpy()

    def load_own_variables(self, store: Mapping) -> None:
        """Load where the loop and its random streams stood."""
        self.loop.since_move = int(store["updates"][()])
        for i, state in enumerate(self.seed_states()):
            state.assign(store[f"seed_{i}"][()])


def _gradient(tape, loss, variables):
    try:
        return tape.gradient(loss, variables)
    except LookupError as e:  # TensorFlow's, for SoftsignGrad and a few others
        raise ValueError(
            "The critic's loss has a gradient penalty, and so needs second derivatives, which "
            f"TensorFlow lacks for one of its operations. Expected another activation. It said: {e}"
        ) from e
