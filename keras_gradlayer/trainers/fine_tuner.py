"""Fine-tuning: the generator moves by one gradient layer at a time."""

import logging
from collections.abc import Callable
from typing import Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer._chunking import chunk_rows
from keras_gradlayer._serialization import deserialize_parts, serialize_parts
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import GradientLayerStack
from keras_gradlayer.models.copying import copy_model, policy_of
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.models.splitting import cut
from keras_gradlayer.trainers._carrying import _Carrying
from keras_gradlayer.trainers.adversarial_trainer import AdversarialTrainer

_log = logging.getLogger(__name__)


@keras.saving.register_keras_serializable("keras_gradlayer")
class FineTuner(_Carrying, AdversarialTrainer):
    """A frozen generator that grows by one gradient layer for each critic `fit` trains.

    Use it on a GAN that has stopped improving, with the same critic callbacks that trained it
    (`GradientPenalty`). By default one epoch is one outer iteration of Algorithm 1: the critic
    takes a pass over the data against the present samples, then one gradient layer with the
    critic as it is now goes on top of the others. `predict(latents)` and calling the model give
    samples (Algorithm 2).

    Source: Nitanda & Suzuki, "Gradient Layer: Enhancing the Convergence of Adversarial Training
    for Generative Models", AISTATS 2018, Algorithms 1 and 2. Departures: see `particles`,
    `refresh` and `steps_per_layer`, whose values `None`, 0 and 1 are the paper.

    Generator and critic are copied: the objects handed over are left as they are. The copies are
    `generator` (frozen) and `critic` (trained on from the values handed over).

    Args:
        generator: a Keras model, latent -> sample; `None` is the identity on the latent.
        critic: a Keras model, sample -> score of shape (batch,) or (batch, 1), without coupling
            between the rows of a batch in inference mode.
        step_size: η, a positive finite number.
        insert: where the gradient layers go: `"top"` before the output activation, `"bottom"` on
            the latent, or after the layer of that name. See `kgl.models.split`.
        latent: the latent distribution, from `kgl.latents`; a standard normal in the shape of
            the generator's input (without one, the critic's) by default.
        output_activation: for `insert="top"`: the head g1. `"auto"` splits off the activation
            that the generator ends with, tanh without a generator. Any other activation says that
            the generator gives values to which it is still to be applied; `None` is the identity.
        max_layers: how many layers there is room for; training stops when they are full.
        particles: `None` draws fresh latents for every critic update and replays them through all
            layers, as printed in Algorithm 1: the cost of an update grows with the depth, and the
            log `replays` says how far. An integer N carries N samples along, which move one layer
            when one is stacked: the cost stays constant. `"auto"` is N = critic steps a layer ×
            batch size, so that no particle is used twice in an outer iteration.
        refresh: the fraction of the particles that is drawn afresh at each layer, 0 to 1.
        steps_per_layer: m, steps of η/m taken with each stacked critic.
        particle_dtype: what particles are kept in between updates: "float32", or for half of
            their memory "bfloat16" or "float16", to whose precision each move is rounded.
        **kwargs: the arguments of every Keras model (`name`).

    Call arguments:
        z: latents of shape (batch, *latent.shape).
        layers: how many gradient layers to apply, as for `GradientLayerStack`; all by default.

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    `fit` logs the epoch means of `critic_loss`, `wasserstein` (E f(x) − E f(g(z)), the critic's
    estimate of W1), `penalty`, `flow_norm` (‖∇_φ L‖² in L²(μ_g) of Theorem 1: the mean squared
    norm of a layer's move over η, 0 in an epoch without a move), and `layers`, the depth reached.

    Raises:
        ValueError: for arguments out of range, parts that do not fit each other, an unknown
            insertion point (the layers are listed), a critic that couples rows.

    Example:

    >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    >>> tuner = FineTuner(None, critic, step_size=0.1, max_layers=3)
    >>> tuner.compile()
    >>> history = tuner.fit(keras.random.uniform((64, 2)), epochs=2, verbose=0)
    >>> sampler = tuner.sampler()
    """

    move_logs = ("flow_norm",)
    compiled_move = False  # its parts are compiled, not the whole
    _PARTS = ("generator", "critic", "latent", "output_activation")

    def __init__(
        self,
        generator: keras.Model | None,
        critic: keras.Model,
        step_size: float,
        insert: str = "top",
        latent: Latent | None = None,
        output_activation: str | Callable | None = "auto",
        max_layers: int = 100,
        particles: int | str | None = "auto",
        refresh: float = 0.0,
        steps_per_layer: int = 1,
        particle_dtype: str = "float32",
        **kwargs,
    ):
        if particles not in (None, "auto"):
            particles = _checks.positive_int("particles", particles)
        if _checks.positive_number("refresh", refresh, zero_ok=True) > 1:
            raise ValueError(f"`refresh` is a fraction, 0 to 1. Received: refresh={refresh}")
        if particle_dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(
                "`particle_dtype` must be 'float32', 'bfloat16' or 'float16'. "
                f"Received: particle_dtype={particle_dtype!r}"
            )
        _checks.instance_of("critic", critic, keras.layers.Layer, "a Keras model")
        if generator is not None:
            _checks.instance_of("generator", generator, keras.layers.Layer, "a Keras model or None")
        if latent is None:
            latent = default_latent(critic if generator is None else generator)
        _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
        if generator is not None:
            generator = copy_model("generator", generator, latent.shape)
            generator.trainable = False
        with policy_of(generator):
            base, head = cut(generator, insert, latent, output_activation)
        flow_shape = _checks.output_shape(base, latent.shape)[1:]
        sample_shape = _checks.output_shape(head, flow_shape)[1:]
        _checks.scores_shape("critic", critic, sample_shape)
        critic = copy_model("critic", critic, sample_shape)
        _checks.rows_independent("critic", critic, sample_shape)

        super().__init__(critic, "wasserstein", latent, **kwargs)
        self.generator, self.base, self.head = generator, base, head
        self.insert, self.output_activation = insert, output_activation
        self.particles, self.refresh = particles, float(refresh)
        self.particle_dtype = particle_dtype
        self.sample_shape, self._flow_shape = tuple(sample_shape), tuple(flow_shape)
        self.stack = GradientLayerStack(
            critic, step_size, max_layers, head, steps_per_layer, dtype="float32"
        )
        self._chunk = chunk_rows(max(flow_shape, sample_shape, key=np.prod))
        if particles is None:
            self._means["replays"] = keras.metrics.Mean(name="replays")
        self(keras.KerasTensor((None, *latent.shape)))

    @property
    def step_size(self) -> float:
        """η, that of every layer unless a callback such as `Backtracking` chose another."""
        return self.stack.step_size

    @property
    def max_layers(self) -> int:
        """How many layers there is room for."""
        return self.stack.max_layers

    @property
    def steps_per_layer(self) -> int:
        """m, steps of η/m with each stacked critic."""
        return self.stack.steps_per_layer

    @property
    def trainable(self) -> bool:
        """Whether the critic trains; the generator is frozen for good."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)
        self.critic.trainable = bool(value)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the stack; the other parts are built already."""
        if not self.stack.built:
            self.stack.build((None, *self._flow_shape))
            self.stack.built = True
        self.built = True

    def compile(
        self, critic_optimizer: str | keras.optimizers.Optimizer | None = None, **kwargs
    ) -> None:
        """Choose the critic's optimizer and how the steps are compiled.

        Args:
            critic_optimizer: a Keras optimizer or its name; Adam(1e-4, beta_1=0.5, beta_2=0.9)
                by default.
            **kwargs: `jit_compile="auto"`, `run_eagerly=False`,
                `steps_per_execution="auto"`.
        """
        super().compile(critic_optimizer, **kwargs)
        self._replay = None
        self.optimizer = self.critic_optimizer  # what Keras' learning rate callbacks look for

    def call(self, z: tf.Tensor, layers: int | tf.Tensor | None = None) -> tf.Tensor:
        """Samples after `layers` gradient layers, all by default."""
        return self.head(self._flow(z, layers), training=False)

    def sampler(self) -> Sampler:
        """The sampler as it is now: a plain Keras model, latent -> sample (Algorithm 2).

        It shares nothing with the tuner: training on does not change it.
        """
        sampler = Sampler.copy_of(
            self.base,
            self.critic,
            self.head,
            self.latent,
            self.step_size,
            max(self.stack.depth, 1),
            self.steps_per_layer,
        )
        sampler.stack.copy_history(self.stack)
        return sampler

    # ---- one outer iteration ----------------------------------------------------------------

    @property
    def default_critic_steps(self) -> int:
        """One pass over the data."""
        if self._epoch_steps is None:
            raise ValueError(
                "A layer is stacked after each pass over the data, but the length of this data is "
                "not known. Pass `steps_per_epoch` to fit, or kgl.callbacks.CriticInnerLoop(steps)."
            )
        return self._epoch_steps

    def fit(
        self,
        x: ArrayLike | tf.data.Dataset | None = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        **kwargs,
    ) -> keras.callbacks.History:
        """Add gradient layers, by default one an epoch; see `AdversarialTrainer.fit`.

        Training ends early, and says so, when `max_layers` are stacked.

        Raises:
            ValueError: as there, and if all `max_layers` are already stacked.
        """
        if self.stack.depth >= self.max_layers:
            raise ValueError(
                f"All max_layers={self.max_layers} layers are stacked. Expected room for another: "
                "make a FineTuner with a larger `max_layers`, and take the layers over by "
                "`save_weights` and `load_weights`."
            )
        self._filled = False
        history = super().fit(x, y, batch_size, epochs, **kwargs)
        steps = self._epoch_steps
        if (
            self._filled
            and history.epoch
            and (history.epoch[-1] + 1 < epochs or not steps or self._epoch_updates < steps)
        ):
            _log.warning(
                "All max_layers=%d layers are stacked: training stopped in epoch %d of %d.",
                self.max_layers,
                history.epoch[-1] + 1,
                epochs,
            )
        return history

    def generate(self, n: int | tf.Tensor) -> tf.Tensor:
        """`n` samples for the critic: fresh ones, or the next of the particles."""
        if self._particles is None:
            self._log(replays=tf.cast(self.stack._depth, "float32"))
            z = self._fresh(n)
        else:
            z = self._particles.take(n)
        return self.head(z, training=False)

    def generator_move(self, real: tf.Tensor) -> dict:
        """Stack the critic as it is now: the particles move along it, and the history grows.

        A callback may take another step size for this layer; if that is 0, none is stacked.
        """
        if self.stack.depth == self.max_layers:  # by a search before the first update, or restored
            self._filled = self.stop_training = True
            return self.get_metrics_result()
        step_size = self.step_size
        for callback in self._step_callbacks:
            step_size = callback.layer_step(step_size, real)
        if not step_size:
            if not all(np.isfinite(v).all() for v in self.critic.variables):
                raise self._not_finite("weights are not finite")
            return self.get_metrics_result()
        if self._particles is not None:
            self._particles.depth = -1  # until the layer is stacked, too
        logs, flow_norm = self._advance_program(real, tf.constant(step_size, "float32"))
        if not np.isfinite(flow_norm):
            norm = f"squared flow norm {float(flow_norm)}"
            raise self._not_finite(f"gradient is not finite ({norm})")
        self.stack.append(step_size=step_size)
        depth = self.stack.depth
        if self._particles is not None:
            self._particles.depth = depth
        if self._particles is not None and self.refresh:
            count = self._particles.count
            redrawn = round(self.refresh * count)
            rows = ((depth - 1) * redrawn + np.arange(redrawn)) % count
            self._redraw(rows)
        if depth == self.max_layers:
            self._filled = self.stop_training = True
        return {**logs, "layers": tf.constant(depth)}

    def _not_finite(self, what):
        return FloatingPointError(
            f"The critic's {what}: the layer was not stacked, {self.stack.depth} layers remain. "
            "Look for NaN in the data, or take a smaller learning rate."
        )

    def _trace(self):
        super()._trace()
        self._move_program = self.generator_move
        self._advance_program = self._program(self._advance)

    def rollback(self, depth: int) -> None:
        """Drop the layers above `depth`, and train on from the critic of the last that is left.

        Where none is left the critic stays as it is. Particles are replayed in the next fit.

        Raises:
            ValueError: if there are not that many layers.
        """
        self.stack.truncate(depth)
        if depth:
            self.stack.restore(depth - 1)

    def _advance(self, real, step_size):
        """Move the particles, if any, along the present critic; logs and the squared flow norm."""

        def move(z):
            return self.stack.move(z, step_size=step_size)

        if self._particles is not None:
            squared = self._particles.move(move)
        else:
            z = self._fresh(real.shape[0] or tf.shape(real)[0])
            squared = tf.reduce_sum(tf.square(move(z) - z)) / tf.cast(tf.shape(z)[0], "float32")
        flow_norm = squared / step_size**2
        self._log(flow_norm=flow_norm)
        return self.get_metrics_result(), flow_norm

    def _fresh(self, n):
        """`n` new samples, replayed through all layers, before the head."""
        return self._flow(self.latent.sample(n, self.seed_generator))

    def _flow(self, z, layers=None):
        return self.stack(self.base(z, training=False), layers=layers)

    def get_metrics_result(self) -> dict:
        """The means, and the depth reached."""
        return {**super().get_metrics_result(), "layers": tf.convert_to_tensor(self.stack._depth)}

    def begin(self, real: tf.Tensor) -> dict | None:
        """Try a layer with the critic as it was handed over, if a callback asks for it."""
        untrained = not self.stack.depth and not self.critic_optimizer.iterations.numpy()
        if untrained and any(c.moves_first for c in self._step_callbacks):
            return self._move(real)
        return None

    def output_range(self) -> tuple[float, float]:
        """The range of the output activation, where it can be seen."""
        return output_range(self.head)

    def get_config(self) -> dict:
        """The constructor's arguments, models serialized."""
        return {
            **super(AdversarialTrainer, self).get_config(),
            **serialize_parts(self, *self._PARTS),
            "step_size": self.step_size,
            "insert": self.insert,
            "max_layers": self.max_layers,
            "particles": self.particles,
            "refresh": self.refresh,
            "steps_per_layer": self.steps_per_layer,
            "particle_dtype": self.particle_dtype,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """Rebuild the tuner with its parts."""
        return cls(**deserialize_parts(config, *cls._PARTS))
