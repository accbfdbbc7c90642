"""A stack of gradient layers, one for each critic of a history."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from keras import ops

from keras_gradlayer import _backend, _checks, _random, objectives
from keras_gradlayer._conditions import spec_of
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.layers._steps import follow
from keras_gradlayer.layers.critic_history import CriticHistory, row
from keras_gradlayer.layers.frozen_parts import variables_of
from keras_gradlayer.layers.gradient_layer import (
    _require_callable,
    _scores,
    _temperature,
    condition_tensor,
)


@keras.saving.register_keras_serializable("keras_gradlayer")
class GradientLayerStack(CriticHistory):
    """Replays a history of critics: `G_T ∘ … ∘ G_1` with `G_k(z) = z + η ∇ φ(f_k(g1(z)))`.

    Use it to keep many gradient layers that share one architecture and differ in the weights, as
    Algorithm 1 makes them. Each `append()` stores the potential's variables as they are at that
    moment, trainable and non-trainable alike, and each layer replays with the variables it was
    stacked with. The step size may differ from layer to layer.

    Source: Nitanda & Suzuki, AISTATS 2018, Eq. (1) and Algorithm 2. Departures: φ, which is the
    identity there; with `steps_per_layer=m` each stored critic is followed for m steps of size η/m;
    m = 1 is the paper; temperature and penalty, as for `kgl.refine` and `kgl.rivals`.

    The layers run in one loop over the stored variables, so the size of the graph does not depend
    on the depth. Memory: max_layers times the bytes of the potential's variables, allocated once;
    files hold `depth` of them. The layer owns nothing trainable. Positions are carried in the
    variable dtype (float32 under the mixed policies) and given out in the compute dtype.

    Args:
        potential: the critic f whose variables are stacked: as for `GradientLayer`.
        step_size: η, a positive finite number: that of each layer stacked without another.
        max_layers: how many layers the stack can hold.
        head: g1, the frozen map from the space of z to the space of the critic, a Keras layer or
            model or registered callable; `None` is the identity. Its variables are shared by all
            layers, not stacked.
        steps_per_layer: m, how many steps of η/m to take with each stacked critic.
        objective: name or instance of the `kgl.objectives` whose `potential` is φ: the game that
            the critics were trained in.
        temperature: γ of each step's noise, as for `GradientLayer`.
        penalty: what each layer descends besides, a registered callable or object: of (z, where
            the layer started), tensors of shape (batch, ...), it gives one number a row.
        **kwargs: the arguments of every Keras layer (`name`, `dtype`).

    Call arguments:
        x: tensor of shape (batch, ...).
        layers: how many of the layers to apply, from the first: an integer for the whole batch or
            an integer tensor of shape (batch,) for each row; clamped to 0 … depth. All by default.
        first: how many layers `x` has gone through already, an integer; they are left out.
        condition: what a conditional potential or head takes besides, (batch, ...).
        seeds: of the noise, as for `GradientLayer`; each layer and step makes its own of them.

    Input shape: (batch, ...). Output shape: the same.

    Raises:
        ValueError: for arguments out of range, a potential that does not fit the input,
            `append()` to a full stack or of other shapes than the stack was made for.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> stack = GradientLayerStack(critic, step_size=0.1, max_layers=10)
        >>> stack.append()                              # the critic as it is now
        >>> critic.set_weights([w + 1 for w in critic.get_weights()])
        >>> stack.append()                              # and as it has become
        >>> moved = stack(keras.ops.zeros((3, 2)))      # both steps; layers=1 for the first alone
    """

    _PARTS = ("potential", "head", "objective", "penalty")
    _SETTINGS: tuple[str, ...] = ("step_size", "max_layers", "steps_per_layer", "temperature")

    def __init__(
        self,
        potential: keras.layers.Layer | Callable,
        step_size: float,
        max_layers: int,
        head: keras.layers.Layer | Callable | None = None,
        steps_per_layer: int = 1,
        objective: str | objectives.Objective = "wasserstein",
        temperature: float = 0.0,
        penalty: Callable | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _require_callable(potential)
        self.objective = objectives.get(objective)
        self.step_size = _checks.positive_number("step_size", step_size)
        self.max_layers = _checks.positive_int("max_layers", max_layers)
        self.steps_per_layer = _checks.steps("steps_per_layer", steps_per_layer)
        self.temperature = _temperature(temperature)
        self.penalty = penalty
        if head is not None:
            _require_callable(head, "head")
        self._hold(potential=potential, head=head)
        self._make_room()

    def build(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> None:
        """Build potential and head, check that they fit, and allocate the history."""
        shape, dtype = x_shape[1:], self.variable_dtype
        sample, sample_dtype = shape, dtype
        parts = [part for part in (self.potential, self.head) if spec_of(part) is not None]
        condition = condition_tensor(parts[0] if parts else None, condition_shape)
        if self.head is not None:
            spec = _checks.output_spec(self.head, shape, dtype, condition)
            sample, sample_dtype = tuple(spec.shape[1:]), spec.dtype
        _checks.scores_shape("potential", self.potential, sample, sample_dtype, condition)
        _checks.depends_on_input("potential", self.climbed, shape, dtype, condition)
        self._make_twins()
        if self._history is None:
            self._allocate_history()

    def call(
        self,
        x: tf.Tensor,
        layers: int | tf.Tensor | None = None,
        first: int | tf.Tensor = 0,
        condition: tf.Tensor | None = None,
        seeds: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Move `x` through the layers from `first` up to `layers`."""
        depth = ops.convert_to_tensor(self._depth)
        rows = x.shape[0]
        last = depth
        if layers is not None:
            last = ops.minimum(_checks.layer_numbers("layers", layers, rows), depth)
        if not tf.is_tensor(first):
            first = _checks.positive_int("first", first, zero_ok=True)
        z = ops.cast(x, self.variable_dtype)
        seeds = _random.row_seeds(z) if self.temperature and seeds is None else seeds
        per_row = len(last.shape) == 1
        row_layers = ops.reshape(last, [-1] + [1] * (len(z.shape) - 1)) if per_row else None

        def replay(k, z):
            layer_seeds = _random.later_seeds(seeds, k) if self.temperature else None
            step_size = row(self._step_sizes, k)
            moved = self.move(z, self.values(k), step_size, condition, layer_seeds)
            return k + 1, ops.where(k < row_layers, moved, z) if per_row else moved

        if not _backend.is_tensorflow():
            most = ops.max(last)
            start = ops.cast(first, "int32"), z
            _, z = ops.while_loop(lambda k, z: k < most, replay, start)
            return ops.cast(z, self.compute_dtype)
        _, z = tf.while_loop(
            lambda k, z: k < tf.reduce_max(last),
            replay,
            (tf.cast(first, "int32"), z),
            shape_invariants=(tf.TensorShape([]), z.shape),
            maximum_iterations=self.max_layers,
        )
        return tf.cast(z, self.compute_dtype)

    def move(
        self,
        z: tf.Tensor,
        values: Sequence[tf.Tensor] | None = None,
        step_size: float | tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
        seeds: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """One layer: `steps_per_layer` steps along the gradient of φ∘f∘g1.

        Args:
            z: tensor of shape (batch, ...) in the variable dtype.
            values: tensors for the potential's variables; its own present ones by default.
            step_size: η, that of the stack by default.
            condition: as for `call`.
            seeds: of this layer's noise.
        """
        return self.follow(z, values, step_size, condition, seeds)[0]

    def follow(
        self,
        z: tf.Tensor,
        values: Sequence[tf.Tensor] | None = None,
        step_size: float | tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
        seeds: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One layer as `move` has it, and the gradient that it set out along."""
        m, start = self.steps_per_layer, z
        step_size = ops.cast(self.step_size if step_size is None else step_size, z.dtype) / m
        own = [] if values is None else list(zip(variables_of(self.potential), values))

        def height(z):
            h = self.climbed(z, condition)
            return h if self.penalty is None else ops.reshape(h, [-1]) - self.penalty(z, start)

        def gradient(z):
            with keras.StatelessScope(state_mapping=own):
                return input_gradient(height, z)

        return follow(gradient, z, step_size, m, self.temperature, seeds)

    def climbed(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """φ∘f∘g1 by the potential's present variables: what the layers climb, one number a row."""
        x = z if self.head is None else _scores(self.head, z, condition)
        scores = ops.cast(_scores(self.potential, x, condition), self.variable_dtype)
        return self.objective.potential(scores)

    def score(
        self, x: tf.Tensor, layer: int | None = None, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The scores that a stacked critic gives, f itself.

        Args:
            x: tensor in the space of the critic (what the head gives out), shape (batch, ...).
            layer: whose critic, from 0; by default the potential as it is now.
            condition: as for `call`.
        """
        return self._score_by(None if layer is None else self.critic_values(layer), x, condition)

    def _score_by(self, values, x, condition=None):
        """The scores with these values of the potential's variables, its own if `None`."""
        own = [] if values is None else list(zip(variables_of(self.potential), values))
        with keras.StatelessScope(state_mapping=own):
            return _scores(self.potential, x, condition)

    def compute_output_spec(self, x: keras.KerasTensor, *args, **kwargs) -> keras.KerasTensor:
        """The input's shape, in the compute dtype."""
        return keras.KerasTensor(x.shape, self.compute_dtype)
