"""A stack of gradient layers, one for each critic of a history."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks, objectives
from keras_gradlayer._checksum import checksum
from keras_gradlayer._conditions import spec_of
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.layers.frozen_parts import FrozenParts, variables_of
from keras_gradlayer.layers.gradient_layer import _require_callable, _scores, condition_tensor


@keras.saving.register_keras_serializable("keras_gradlayer")
class GradientLayerStack(FrozenParts):
    """Replays a history of critics: `G_T ∘ … ∘ G_1` with `G_k(z) = z + η ∇ φ(f_k(g1(z)))`.

    Use it to keep many gradient layers that share one architecture and differ in the weights, as
    Algorithm 1 makes them. Each `append()` stores the potential's variables as they are at that
    moment, trainable and non-trainable alike, and each layer replays with the variables it was
    stacked with. The step size may differ from layer to layer.

    Source: Nitanda & Suzuki, AISTATS 2018, Eq. (1) and Algorithm 2. Departures: φ, which is the
    identity there; with `steps_per_layer=m` each stored critic is followed for m steps of size η/m;
    m = 1 is the paper.

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
        **kwargs: the arguments of every Keras layer (`name`, `dtype`).

    Call arguments:
        x: tensor of shape (batch, ...).
        layers: how many of the layers to apply, from the first: an integer for the whole batch or
            an integer tensor of shape (batch,) for each row; clamped to 0 … depth. All by default.
        first: how many layers `x` has gone through already, an integer; they are left out.
        condition: what a conditional potential or head takes besides, (batch, ...).

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

    _PARTS = ("potential", "head", "objective")
    _SETTINGS = ("step_size", "max_layers", "steps_per_layer")

    def __init__(
        self,
        potential: keras.layers.Layer | Callable,
        step_size: float,
        max_layers: int,
        head: keras.layers.Layer | Callable | None = None,
        steps_per_layer: int = 1,
        objective: str | objectives.Objective = "wasserstein",
        **kwargs,
    ):
        super().__init__(**kwargs)
        _require_callable(potential)
        self.objective = objectives.get(objective)
        self.step_size = _checks.positive_number("step_size", step_size)
        self.max_layers = _checks.positive_int("max_layers", max_layers)
        self.steps_per_layer = _checks.positive_int("steps_per_layer", steps_per_layer)
        self._hold(potential=potential, head=head)
        self._depth = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="depth"
        )
        self._step_sizes = self.add_weight(
            shape=(self.max_layers,),
            dtype="float64",  # η itself, whatever the layers compute in
            initializer="zeros",
            trainable=False,
            autocast=False,
            name="step_sizes",
        )
        self._history = None
        self._strategy = tf.distribute.get_strategy()
        put = tf.function(self._put, autograph=False)
        self._store = lambda *layer: put(*layer)  # a tf.function would be saved with the model
        if getattr(potential, "built", True):
            self._allocate_history()

    def build(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> None:
        """Build potential and head, check that they fit, and allocate the history."""
        shape, dtype = x_shape[1:], self.variable_dtype
        given = shape, dtype
        parts = [part for part in (self.potential, self.head) if spec_of(part) is not None]
        condition = condition_tensor(parts[0] if parts else None, condition_shape)
        if self.head is not None:
            spec = _checks.output_spec(self.head, shape, dtype, condition)
            given = tuple(spec.shape[1:]), spec.dtype
        _checks.scores_shape("potential", self.potential, *given, condition)
        _checks.depends_on_input("potential", self.climbed, shape, dtype, condition)
        self._make_twins()
        if self._history is None:
            self._allocate_history()

    def _allocate_history(self):
        self._history = [
            self.add_weight(
                shape=(self.max_layers, *v.shape),
                dtype=v.dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
                name=f"history_{i}",
            )
            for i, v in enumerate(variables_of(self.potential))
        ]
        for i, h in enumerate(self._history):
            setattr(self._followed, f"history_{i}", h)

    @property
    def layer_count(self) -> keras.Variable:
        """The variable that holds the depth."""
        return self._depth

    @property
    def depth(self) -> int:
        """How many layers are stacked."""
        return int(self._depth.numpy())

    @property
    def step_sizes(self) -> np.ndarray:
        """η of each stacked layer, float64 of shape (depth,)."""
        return self._step_sizes.numpy()[: self.depth]

    def append(
        self, potential: keras.layers.Layer | None = None, step_size: float | None = None
    ) -> None:
        """Stack one more layer with the variables `potential` has now.

        Args:
            potential: where to take the variables from, a layer with the same variable shapes as
                the stack's own potential, which is the default.
            step_size: η of this layer; by default that of the stack.

        Raises:
            ValueError: if the stack is full or not built, or the variables do not fit.
        """
        step_size = self.step_size if step_size is None else step_size
        _checks.positive_number("step_size", step_size)
        depth, values = self.depth, variables_of(self.potential if potential is None else potential)
        if depth == self.max_layers:
            raise ValueError(
                f"The stack is full: it holds {depth} layers and was made for "
                f"max_layers={self.max_layers}. Make one with a larger `max_layers`."
            )
        if self._history is None:
            raise ValueError(
                "`append()` needs a potential that has its variables. Received one that is not "
                "built: call it or the stack on data first."
            )
        expected = [tuple(h.shape[1:]) for h in self._history]
        received = [tuple(v.shape) for v in values]
        if received != expected:
            raise ValueError(
                "The potential's variables do not fit the stack. Expected the shapes "
                f"{expected}. Received: {received}"
            )
        self._store(
            [tf.convert_to_tensor(v) for v in values],
            tf.constant(step_size, "float64"),
            tf.constant(depth),
        )

    def _put(self, values, step_size, depth):
        """Write one layer, in place: as a program, for the many small steps of it."""
        for rows, value in zip(self._rows(), [*values, step_size]):
            self._assign(rows, [depth], value[None])
        self._depth.assign(depth + 1)

    def _assign(self, variable, rows, values):
        """Set some rows of a variable in place, on every replica of this process."""
        for copy in self._strategy.experimental_local_results(variable.value):
            copy.scatter_update(tf.IndexedSlices(values, rows))

    def truncate(self, depth: int) -> None:
        """Drop the layers above `depth`; the next to be stacked takes their place.

        Raises:
            ValueError: if there are not that many.
        """
        if not 0 <= depth <= self.depth:
            raise ValueError(f"`depth` must be from 0 to {self.depth}. Received: depth={depth}")
        self._depth.assign(depth)

    def restore(self, layer: int) -> None:
        """Give the potential the variables it had when a layer was stacked.

        Args:
            layer: which one, from 0.

        Raises:
            ValueError: if it is not stacked.
        """
        for v, value in zip(variables_of(self.potential), self._values(layer)):
            v.assign(value)

    def copy_history(self, other: Self) -> None:
        """Take over the layers of a stack for the same potential; this one must be empty."""
        depth = other.depth
        for mine, theirs in zip(self._rows(), other._rows()):
            self._assign(mine, range(depth), theirs.value[:depth])
        self._depth.assign(depth)

    def fingerprint(self, first: int = 0, before: int = 0, last: int | None = None) -> int:
        """A checksum of the stacked layers: stacks of equal layers have equal ones.

        Args:
            first: the layer to begin with.
            before: the fingerprint of the layers before it.
            last: the layer to end before; the depth by default.
        """
        for k in range(first, self.depth if last is None else last):
            before = checksum((tf.gather(h.value, k) for h in self._rows()), before)
        return before

    def _rows(self):
        """The variables that hold a row for each layer."""
        return [*(self._history or []), self._step_sizes]

    def _stored(self):
        """The same, with their names in a file."""
        names = [*(f"history_{i}" for i in range(len(self._history or []))), "step_sizes"]
        return zip(names, self._rows())

    def call(
        self,
        x: tf.Tensor,
        layers: int | tf.Tensor | None = None,
        first: int | tf.Tensor = 0,
        condition: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Move `x` through the layers from `first` up to `layers`."""
        depth = tf.convert_to_tensor(self._depth)
        layers = depth if layers is None else tf.clip_by_value(tf.cast(layers, "int32"), 0, depth)
        z = tf.cast(x, self.variable_dtype)
        per_row = layers.shape.rank == 1
        row_layers = tf.reshape(layers, [-1] + [1] * (z.shape.rank - 1)) if per_row else None

        def replay(k, z):
            values = [tf.gather(h.value, k) for h in self._history]
            moved = self.move(z, values, tf.gather(self._step_sizes.value, k), condition)
            return k + 1, tf.where(k < row_layers, moved, z) if per_row else moved

        _, z = tf.while_loop(
            lambda k, z: k < tf.reduce_max(layers),
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
    ) -> tf.Tensor:
        """One layer: `steps_per_layer` steps along the gradient of φ∘f∘g1.

        Args:
            z: tensor of shape (batch, ...) in the variable dtype.
            values: tensors for the potential's variables; its own present ones by default.
            step_size: η, that of the stack by default.
            condition: as for `call`.
        """
        return self.follow(z, values, step_size, condition)[0]

    def follow(
        self,
        z: tf.Tensor,
        values: Sequence[tf.Tensor] | None = None,
        step_size: float | tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One layer as `move` has it, and the gradient of φ∘f∘g1 that it set out along."""
        m = self.steps_per_layer
        step_size = tf.cast(self.step_size if step_size is None else step_size, z.dtype) / m
        own = [] if values is None else list(zip(variables_of(self.potential), values))

        def gradient(z):
            with keras.StatelessScope(state_mapping=own):
                return input_gradient(lambda z: self.climbed(z, condition), z)

        first = gradient(z)
        z += step_size * first
        if m > 1:
            _, z = tf.while_loop(
                lambda i, z: i < m,
                lambda i, z: (i + 1, z + step_size * gradient(z)),
                (1, z),
                maximum_iterations=m - 1,
            )
        return z, first

    def climbed(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """φ∘f∘g1 by the potential's present variables: what the layers climb, one number a row."""
        x = z if self.head is None else _scores(self.head, z, condition)
        scores = tf.cast(_scores(self.potential, x, condition), self.variable_dtype)
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
        return self._score_by(None if layer is None else self._values(layer), x, condition)

    def _score_by(self, values, x, condition=None):
        """The scores with these values of the potential's variables, its own if `None`."""
        own = [] if values is None else list(zip(variables_of(self.potential), values))
        with keras.StatelessScope(state_mapping=own):
            return _scores(self.potential, x, condition)

    def _values(self, layer):
        """The variables that a layer was stacked with."""
        with tf.init_scope():  # also while a graph is traced
            depth = self.depth
        if not 0 <= layer < depth:
            raise ValueError(
                f"`layer` must be one of the {depth} stacked layers, from 0. "
                f"Received: layer={layer}"
            )
        return [tf.gather(h.value, layer) for h in self._history]

    def compute_output_spec(
        self,
        x: keras.KerasTensor,
        layers: int | keras.KerasTensor | None = None,
        first: int | keras.KerasTensor = 0,
        condition: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """The input's shape, in the compute dtype."""
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save the stacked layers, not the room kept for more, and the parts."""
        super().save_own_variables(store)
        depth = self.depth
        store["depth"] = depth
        for name, rows in self._stored():
            store[name] = rows.value[:depth].numpy()

    def load_own_variables(self, store: Mapping) -> None:
        """Load the stacked layers into the front of the history, and the parts."""
        super().load_own_variables(store)
        depth = int(np.asarray(store["depth"]))
        if depth > self.max_layers:
            raise ValueError(
                f"The file holds {depth} stacked layers. Expected at most "
                f"max_layers={self.max_layers}."
            )
        for name, rows in self._stored():
            if depth:
                values = tf.convert_to_tensor(np.asarray(store[name]), rows.dtype)
                self._assign(rows, range(depth), values)
        self._depth.assign(depth)
