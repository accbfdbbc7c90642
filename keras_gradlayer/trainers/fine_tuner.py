"""Fine-tuning: the generator moves by one gradient layer at a time."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from keras_gradlayer import _checks, objectives
from keras_gradlayer._conditions import pair
from keras_gradlayer._nesting import nested_layers
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import GradientLayerStack
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.models.splitting import check_insert
from keras_gradlayer.step_rules.backtracking import Backtracking
from keras_gradlayer.step_rules.step_rule import Scheduled, StepRule
from keras_gradlayer.trainers._parts import (
    freeze_statistics,
    is_frozen,
    make_flow,
    trains_as_followed,
)
from keras_gradlayer.trainers.layer_trainer import LayerTrainer


@keras.saving.register_keras_serializable("keras_gradlayer")
class FineTuner(LayerTrainer):
    """A frozen generator that grows by one gradient layer for each critic `fit` trains.

    Use it on a GAN that has stopped improving, with the same critic callbacks that trained it
    (`GradientPenalty`). By default one epoch is one outer iteration of Algorithm 1: the critic
    takes a pass over the data against the present samples, then one gradient layer with the
    critic as it is now goes on top of the others. `predict(latents)` and calling the model give
    samples (Algorithm 2).

    Source: Nitanda & Suzuki, "Gradient Layer: Enhancing the Convergence of Adversarial Training
    for Generative Models", AISTATS 2018, Algorithms 1 and 2. Departures: see `particles`,
    `refresh` and `steps_per_layer`, whose values `None`, 0 and 1 are the paper.

    The critic trains on in the game that it comes from, and the layers follow the gradient of what
    the generator ascends there, `objective.potential` of the score. A sigmoid that the critic ends
    with is taken off, and the log says so.

    What is trained is what the layers follow. Batch normalization in the critic keeps the
    statistics that it is handed over with; its scale and offset train on. A critic that is another
    function in training for other reasons than chance (dropout, noise) or spectral normalization
    trains in inference mode. The log (`logging`, at level INFO) says so.

    Generator and critic are copied, unless `copy` says otherwise: the objects handed over are left
    as they are. The copies are
    `generator` (frozen) and `critic` (trained on from the values handed over).

    Args:
        generator: a Keras model, latent -> sample; `None` is the identity on the latent. That of
            a conditional GAN takes [latent, condition] in any order, or the condition alone.
            Several latents, such as style and noise, become parts of one vector, in order.
        critic: a Keras model, sample -> score of shape (batch,) or (batch, 1), without coupling
            between the rows of a batch in inference mode. That of a conditional GAN takes [sample,
            condition] in any order, or the sample alone; where both are of one shape, as with
            images from images, the inputs' names must tell which is which, such as "sample" and
            "condition". Of one with several outputs, as in an AC-GAN, name the
            score: `keras.Model(critic.inputs, critic.outputs[0])`.
        step_size: η, a positive finite number; a Keras schedule (of
            `keras.optimizers.schedules`) of the number of layers stacked; or a rule that chooses
            each layer's, `kgl.step_rules.LineSearch(scorer)` or `kgl.step_rules.Backtracking()`,
            which `"auto"` stands for. Where a scorer can judge samples, `LineSearch` is better.
        insert: where the gradient layers go: `"top"` before the output activation, `"bottom"` on
            the latent, or after the layer of that name. See `kgl.models.split`. `"auto"` is the
            last feature map before the output layer of a convolutional generator, which did best
            on CIFAR-10 and MNIST (docs/RESULTS.md), else `"top"`.
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
            batch size, so that no particle is used twice in an outer iteration, up to 1 GB of them.
        refresh: the fraction of the particles that is drawn afresh at each layer, 0 to 1.
        steps_per_layer: m, steps of η/m taken with each stacked critic.
        copy: whether the tuner works on copies of generator and critic. `False` is for classes
            that cannot be rebuilt from a config: the tuner then freezes the generator itself and
            trains the critic itself, and its samplers share both. Neither can be saved as `.keras`;
            `kgl.serving.export_sampler` writes the sampler all the same.
        particle_dtype: what particles are kept in between updates: "float32", or for half of
            their memory "bfloat16" or "float16", to whose precision each move is rounded.
        objective: name or instance of the `kgl.objectives` whose game the critic trains on in.
            `"auto"` is `"minimax"` for a critic that ends with a sigmoid, else `"wasserstein"`. The
            sigmoid is taken off for every objective of logits, all but `"least_squares"`.
        **kwargs: the arguments of every Keras model (`name`).

    Call arguments:
        z: latents of shape (batch, *latent.shape).
        layers: how many gradient layers to apply, as for `GradientLayerStack`; all by default.
        condition: what to sample, for a conditional GAN, as `Sampler` has it.

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    `fit` logs the epoch means of `critic_loss`, `wasserstein` (E f(x) − E f(g(z)), the critic's
    estimate of W1), `penalty`, `flow_norm` (‖∇_φ L‖² in L²(μ_g) of Theorem 1: the mean squared norm
    of the gradient that the layer sets out along, 0 in an epoch without a move), and `layers`, the
    depth reached.

    Where the critic's optimizer averages weights (`use_ema=True`), the layers are stacked with the
    averages, which the critic ends with, too; it trains on from its own weights.

    Attributes:
        flow: the live `Sampler` of base, stack and head; `base`, `stack` and `head` are its own.

    Raises:
        ValueError: for arguments out of range, parts that do not fit each other, an unknown
            insertion point (the layers are listed), a critic that couples rows, or one whose
            scores lie between 0 and 1 without a sigmoid that can be taken off.
        NotImplementedError: for an objective without a `potential`.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> tuner = FineTuner(None, critic, step_size=0.1, max_layers=3)
        >>> tuner.compile()
        >>> history = tuner.fit(keras.random.uniform((64, 2)), epochs=2, verbose=0)
        >>> sampler = tuner.sampler()
    """

    _PARTS = ("generator", "critic", "latent", "output_activation", "step_size", "objective")
    _SETTINGS = (
        "insert",
        "max_layers",
        "particles",
        "refresh",
        "steps_per_layer",
        "particle_dtype",
        "copy",
    )

    def __init__(
        self,
        generator: keras.Model | None,
        critic: keras.Model,
        step_size: float
        | str
        | keras.optimizers.schedules.LearningRateSchedule
        | StepRule = "auto",
        insert: str = "auto",
        latent: Latent | None = None,
        output_activation: str | Callable | None = "auto",
        max_layers: int = 100,
        particles: int | str | None = "auto",
        refresh: float = 0.0,
        steps_per_layer: int = 1,
        particle_dtype: str | None = None,
        objective: str | objectives.Objective = "auto",
        copy: bool = True,
        **kwargs,
    ):
        if isinstance(particles, str) and particles != "auto":
            raise ValueError(
                f"`particles` must be 'auto', an integer or None. Received: particles={particles!r}"
            )
        if not _checks.among(particles, (None, "auto")):
            particles = _checks.positive_int("particles", particles)
        _checks.fraction("refresh", refresh)
        if not _checks.among(particle_dtype, (None, "float32", "bfloat16", "float16")):
            raise ValueError(
                "`particle_dtype` must be 'float32', 'bfloat16', 'float16' or None. "
                f"Received: particle_dtype={particle_dtype!r}"
            )
        _checks.boolean("copy", copy)
        check_insert(insert)
        rule = _rule(step_size)
        generator, flow, insert = make_flow(
            generator,
            critic,
            insert,
            latent,
            output_activation,
            objective,
            copy,
            step_size=rule.step_size or 1.0,
            max_layers=max_layers,
            steps_per_layer=steps_per_layer,
        )
        critic = flow.stack.potential
        super().__init__(critic, flow.stack.objective, flow.latent, **kwargs)
        self.critic_training = trains_as_followed(critic, flow.sample_shape)
        self.generator, self.flow = generator, flow
        self.insert, self.output_activation = insert, output_activation
        self.particles, self.refresh = particles, float(refresh)
        self.particle_dtype, self.copy = particle_dtype, bool(copy)
        self.rule, self._step_size = rule, step_size
        self.sample_shape = flow.sample_shape
        if particles is None:
            self.means["replays"] = keras.metrics.Mean(name="replays")
        self.condition_spec, self.conditions = flow.condition_spec, flow.conditions
        if isinstance(particles, int):
            _checks.fits_memory("particles", particles, particles * self.particle_bytes())
        self(pair(keras.KerasTensor((None, *flow.latent.shape)), flow.condition_spec))

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, each once."""
        return self._once(super().variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """All weights, each once."""
        return self._once(super().weights)

    def _once(self, listed):
        return self.stack.beside(listed) if "flow" in vars(self) else listed

    @property
    def base(self) -> keras.Model:
        """g2, from the latent to the space of the gradient layers."""
        return self.flow.base

    @property
    def stack(self) -> GradientLayerStack:
        """The gradient layers."""
        return self.flow.stack

    @property
    def head(self) -> keras.Model:
        """g1, from the space of the gradient layers to the sample."""
        return self.flow.head

    @property
    def step_size(self) -> float | str | LearningRateSchedule | StepRule:
        """η, or what chooses it."""
        return self._step_size

    @step_size.setter
    def step_size(self, value):
        self.rule, self._step_size = _rule(value), value
        self.stack.step_size = self.rule.step_size or 1.0

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
        return self.critic.trainable if "critic" in vars(self) else True

    @trainable.setter
    def trainable(self, value):
        self.critic.trainable = bool(value)
        if value:
            freeze_statistics(self.critic)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the critic as it was handed over: not frozen."""
        frozen = [layer for layer in nested_layers(self.critic) if is_frozen(layer)]
        for layer in frozen:
            layer.trainable = True
        config = super().get_config()
        freeze_statistics(self.critic)
        return config

    def compiled_parts(self) -> list[keras.layers.Layer]:
        """What the programs compute with."""
        return self.flow.compiled_parts()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """The parts are built already."""
        self.built = True

    def compile(
        self,
        *positional,
        critic_optimizer: str | keras.optimizers.Optimizer | None = None,
        **kwargs,
    ) -> None:
        """Choose the critic's optimizer and how the steps are compiled.

        Args:
            *positional: deprecated; name the optimizer.
            critic_optimizer: a Keras optimizer or its name; Adam(1e-4, beta_1=0.5, beta_2=0.9)
                by default.
            **kwargs: `jit_compile="auto"`, `run_eagerly=False`,
                `steps_per_execution="auto"`.
        """
        super().compile(*positional, critic_optimizer=critic_optimizer, **kwargs)
        self.optimizer = self.critic_optimizer  # what Keras' learning rate callbacks look for

    def call(
        self,
        z: tf.Tensor,
        layers: int | tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Samples after `layers` gradient layers, all by default."""
        return self.flow(z, layers=layers, condition=condition)

    def sampler(self) -> Sampler:
        """The sampler as it is now: a plain Keras model, latent -> sample (Algorithm 2).

        It shares nothing with the tuner, or with `copy=False` what does not train: training further
        does not change it.
        """
        return self.flow.copy()

    def output_range(self) -> tuple[float, float]:
        """The range of the output activation, where it can be seen."""
        return self.flow.output_range()


def _rule(step_size):
    """What chooses the steps, from what was given."""
    if isinstance(step_size, str) and step_size == "auto":
        return Backtracking()
    if isinstance(step_size, str):
        raise ValueError(
            "`step_size` must be a positive finite number, 'auto', a Keras schedule or a step "
            f"rule. Received: step_size={step_size!r}"
        )
    return step_size if isinstance(step_size, StepRule) else Scheduled(step_size)
