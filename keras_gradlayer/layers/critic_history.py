"""The critics that a stack of gradient layers replays, in variables with room for more."""

from collections.abc import Mapping, MutableMapping
from typing import Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_gradlayer import _backend, _checks
from keras_gradlayer._checksum import checksum
from keras_gradlayer._programs import program
from keras_gradlayer.layers.frozen_parts import FrozenParts, variables_of


class CriticHistory(FrozenParts):
    """A potential's variables as they were, layer by layer: stacked, dropped, copied and saved.

    Each layer has a row of a variable for each of the potential's, and its step size. What is not
    finite never gets in. Subclasses set `potential`, `step_size` and `max_layers`, and call
    `_make_room`.
    """

    def _make_room(self):
        self._check_memory(variables_of(self.potential))
        self._depth = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="depth"
        )
        self._step_sizes = self.add_weight(
            shape=(self.max_layers,),
            # η itself, whatever the layers compute in; JAX has no float64 by default
            dtype="float32" if _backend.name() == "jax" else "float64",
            initializer="zeros",
            trainable=False,
            autocast=False,
            name="step_sizes",
        )
        self._history = self._refusal = None
        self._strategy = tf.distribute.get_strategy()
        if _backend.is_tensorflow():
            put = program(self._put)
            self._store = lambda *layer: put(*layer)  # a tf.function would be saved with the model
        else:
            self._store = self._put
        if getattr(self.potential, "built", True):
            self._allocate_history()

    def _allocate_history(self):
        variables = variables_of(self.potential)
        self._check_memory(variables)
        self._history = [
            self._add_rows(f"history_{i}", v.shape, v.dtype) for i, v in enumerate(variables)
        ]

    def _add_rows(self, name, shape, dtype):
        """A variable with a row for each layer there is room for."""
        rows = self.add_weight(
            shape=(self.max_layers, *shape),
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
            name=name,
        )
        setattr(self._followed, name, rows)
        return rows

    def _check_memory(self, variables):
        size = sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)
        _checks.fits_memory("max_layers", self.max_layers, self.max_layers * (8 + size))

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
        return np.asarray(self._step_sizes.numpy()[: self.depth], "float64")

    def append(
        self, potential: keras.layers.Layer | None = None, step_size: float | None = None
    ) -> None:
        """Stack one more layer with the variables `potential` has now.

        Args:
            potential: where to take the variables from, a layer with the same variable shapes as
                the stack's own potential, which is the default.
            step_size: η of this layer; by default that of the stack.

        Raises:
            ValueError: if the stack is full or not built, or the variables do not fit or are not
                finite.
            TypeError: if `potential` is no layer.
        """
        step_size = self.step_size if step_size is None else step_size
        _checks.positive_number("step_size", step_size)
        if potential is not None:
            _checks.instance_of("potential", potential, keras.layers.Layer, "a Keras layer")
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
        _checks.finite_weights("potential", values)
        self._store(
            [ops.convert_to_tensor(v) for v in values],
            ops.convert_to_tensor(step_size, self._step_sizes.dtype),
            ops.convert_to_tensor(depth, "int32"),
        )

    def _put(self, values, step_size, depth):
        """Write one layer, in place: as a program, for the many small steps of it."""
        for rows, value in zip(self._rows(), [*values, step_size]):
            self._assign(rows, [depth], value[None])
        self._depth.assign(depth + 1)

    def _assign(self, variable, rows, values):
        """Set some rows of a variable in place, on every replica of this process."""
        if not _backend.is_tensorflow():
            rows = np.reshape([int(k) for k in rows], (-1, 1))
            variable.assign(ops.scatter_update(variable, rows, values))
            return
        for copy in self._strategy.experimental_local_results(variable.value):
            copy.scatter_update(tf.IndexedSlices(values, rows))

    def truncate(self, depth: int) -> None:
        """Drop the layers above `depth`; the next to be stacked takes their place.

        Raises:
            ValueError: if there are not that many.
        """
        self._depth.assign(_checks.positive_int("depth", depth, zero_ok=True, most=self.depth))

    def restore(self, layer: int) -> None:
        """Give the potential the variables it had when a layer was stacked.

        Args:
            layer: which one, from 0.

        Raises:
            ValueError: if it is not stacked.
        """
        for v, value in zip(variables_of(self.potential), self.critic_values(layer)):
            v.assign(value)

    def copy_history(self, other: Self) -> None:
        """Take over the layers of a stack for the same potential; this one must be empty.

        Raises:
            ValueError: if this one has layers or too little room, or those of the other do not fit
                or are not finite.
            TypeError: if `other` is no stack.
        """
        _checks.instance_of("other", other, CriticHistory, "a GradientLayerStack")
        depth = other.depth
        if self.depth:
            raise ValueError(
                "Layers are taken over by a stack without layers. "
                f"Received: one of {self.depth} layers"
            )
        self._check_room(depth)
        self._check_layers({h.name: _backend.to_numpy(h.value[:depth]) for h in other._rows()})
        for mine, theirs in zip(self._rows(), self._taken(other, depth)):
            self._assign(mine, range(depth), theirs)
        self._depth.assign(depth)

    def _taken(self, other, depth):
        """The layers of another stack, as rows for this one's variables."""
        mine, theirs = ([(tuple(h.shape[1:]), h.dtype) for h in s._rows()] for s in (self, other))
        if mine != theirs:
            raise ValueError(
                "The layers do not fit the stack. Expected variables of the shapes "
                f"{mine[:-1]}. Received: {theirs[:-1]}"
            )
        return [h.value[:depth] for h in other._rows()]

    def fingerprint(self, first: int = 0, before: int = 0, last: int | None = None) -> int:
        """A checksum of the stacked layers: stacks of equal layers have equal ones.

        Args:
            first: the layer to begin with.
            before: the fingerprint of the layers before it.
            last: the layer to end before; the depth by default.
        """
        for k in range(first, self.depth if last is None else last):
            before = checksum((_backend.to_numpy(row(h, k)) for h in self._rows()), before)
        return before

    def _rows(self):
        """The variables that hold a row for each layer."""
        return [*(self._history or []), self._step_sizes]

    def _names(self):
        """What a file has: the depth, and the same by name."""
        return ["depth", *(f"history_{i}" for i in range(len(self._history or []))), "step_sizes"]

    def critic_values(self, layer: int) -> list[tf.Tensor]:
        """The values of the potential's variables that a layer was stacked with, from 0.

        Raises:
            ValueError: if it is not stacked.
        """
        with tf.init_scope():  # also while a graph is traced
            depth = self.depth
        if not depth:
            raise ValueError(f"No layer is stacked yet. Received: layer={layer!r}")
        layer = _checks.positive_int("layer", layer, zero_ok=True, most=depth - 1)
        return self.values(layer)

    def values(self, k: int | tf.Tensor) -> list[tf.Tensor]:
        """The potential's variables as they were in layer `k`, counted from 0."""
        return [row(h, k) for h in self._history]

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save the stacked layers, not the room kept for more, and the parts."""
        super().save_own_variables(store)
        depth = self.depth
        values = depth, *(_backend.to_numpy(rows.value[:depth]) for rows in self._rows())
        for name, value in zip(self._names(), values):
            store[name] = value

    def load_own_variables(self, store: Mapping) -> None:
        """Load the stacked layers into the front of the history, and the parts."""
        if self._refusal and not {*store.keys()} & {*self._names()}:
            raise self._refusal  # Keras looks elsewhere in the file next, where nothing is
        try:
            self._load(store)
        except Exception as e:
            self._refusal = e
            raise

    def _load(self, store):
        super().load_own_variables(store)
        stored = {name: np.asarray(store[name]) for name in self._names() if name in store}
        depth = int(stored["depth"]) if "depth" in stored else -1
        shapes = {n: (depth, *rows.shape[1:]) for n, rows in zip(self._names()[1:], self._rows())}
        found = {name: stored[name].shape for name in shapes if name in stored}
        if depth < 0 or (depth and found != shapes):
            raise ValueError(
                "The file must hold the stack's depth and arrays of so many layers, "
                f"{', '.join(shapes)}. Received: {', '.join(stored) or 'none'}"
                + (f", of shapes {found} for {depth} layers" if depth >= 0 else "")
            )
        self._check_room(depth)
        self._check_layers(stored)
        for name, rows in zip(shapes, self._rows()):
            if depth:
                self._assign(rows, range(depth), ops.convert_to_tensor(stored[name], rows.dtype))
        self._depth.assign(depth)

    def _check_room(self, depth):
        if depth > self.max_layers:
            raise ValueError(
                f"Expected at most {self.max_layers} layers, the stack's max_layers. "
                f"Received: {depth} layers"
            )

    def _check_layers(self, rows):
        """Check that layers are finite, all of them."""
        bad = {int(k) for x in rows.values() for k in _spoilt_rows(np.asarray(x))}
        if bad:
            raise ValueError(
                "Stacked layers must have finite weights. Received: NaN or infinite values in "
                f"layer {', '.join(map(str, sorted(bad)[:5]))}, counted from 0"
            )


def row(variable: keras.Variable, k: int | tf.Tensor) -> tf.Tensor:
    """One row of a variable's value."""
    if _backend.is_tensorflow():
        return tf.gather(variable.value, k)
    return ops.take(variable.value, k, axis=0)


def _spoilt_rows(x):
    """The rows of an array that are not finite."""
    if not x.ndim or x.dtype.kind in "iub":
        return []
    return np.flatnonzero(~np.isfinite(x.astype("float64")).all(axis=tuple(range(1, x.ndim))))
