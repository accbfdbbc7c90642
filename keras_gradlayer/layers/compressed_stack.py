"""A finished stack of gradient layers in a fraction of the bytes."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _backend, _checks
from keras_gradlayer._checksum import checksum
from keras_gradlayer.layers.frozen_parts import variables_of
from keras_gradlayer.layers.gradient_layer_stack import GradientLayerStack

_LEVELS = {"int8": 127, "int4": 7, "bfloat16": None}
_DTYPES = {"int8": "int8", "int4": "uint8", "bfloat16": "bfloat16"}


@keras.saving.register_keras_serializable("keras_gradlayer")
class CompressedStack(GradientLayerStack):
    """Replays critics that are kept as small differences to one of them.

    Use it to store and serve a finished history: `Sampler.compress` makes one. The critics of a
    history are close to each other, and a difference fits into bits where the critic would not.
    Each is restored when its turn comes, once a layer; all else is as in `GradientLayerStack`.

    What is kept of a kernel, a weight of two axes or more, is its difference to the potential's: as
    `s q`, with integers q from -127 to 127 (int8) or from -7 to 7 (int4, two in a byte) and a scale
    s for each entry of the last axis, or rounded to bfloat16. Arrays of one axis, such as
    biases, and what is no float are few, and stay as they were.

    Source: a departure from Nitanda & Suzuki (2018), who keep the critics. The rounding is the
    symmetric one of integer networks, by channel (Krishnamoorthi, "Quantizing deep convolutional
    networks for efficient inference", 2018, section 3.1), of differences in the place of weights.

    Args:
        potential: the critic f that the others differ from. It has to stay as it is.
        step_size: as for `GradientLayerStack`.
        max_layers: how many layers the stack can hold.
        precision: `"int8"`, `"int4"` or `"bfloat16"`.
        **kwargs: `head`, `steps_per_layer`, `objective`, `temperature` and `penalty`, as for
            `GradientLayerStack`, and the arguments of every Keras layer.

    Call arguments: those of `GradientLayerStack`.

    Input shape: (batch, ...). Output shape: the same.

    Raises:
        ValueError: for arguments out of range; by `append` and `restore`, since the layers hang on
            the potential.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> stack = GradientLayerStack(critic, step_size=0.1, max_layers=10)
        >>> stack.append()
        >>> small = CompressedStack(critic, step_size=0.1, max_layers=1, precision="int8")
        >>> small.copy_history(stack)
    """

    _SETTINGS = (*GradientLayerStack._SETTINGS, "precision")

    def __init__(
        self,
        potential: keras.layers.Layer | Callable,
        step_size: float,
        max_layers: int,
        precision: str = "int8",
        **kwargs,
    ):
        if not _checks.among(precision, _LEVELS):
            raise ValueError(
                f"`precision` must be one of {', '.join(_LEVELS)}. "
                f"Received: precision={precision!r}"
            )
        _backend.need_tensorflow("A CompressedStack")
        self.precision = precision
        super().__init__(potential, step_size, max_layers, **kwargs)

    def _allocate_history(self):
        variables = variables_of(self.potential)
        # The potential's variables again: where no policy rounds them, and past Keras' tracking,
        # which would list them twice.
        base = [keras.Variable(v.value, dtype=v.dtype, autocast=False) for v in variables]
        object.__setattr__(self, "_base", base)
        self._history, self._scales = [], {}
        for i, v in enumerate(variables):
            shape, dtype = tuple(v.shape), v.dtype
            if _is_kernel(v):
                if self.precision != "bfloat16":
                    self._scales[str(i)] = self._add_rows(f"scales_{i}", shape[-1:], "float32")
                if self.precision == "int4":
                    shape = (-(-int(np.prod(shape)) // 2),)
                dtype = _DTYPES[self.precision]
            self._history.append(self._add_rows(f"history_{i}", shape, dtype))

    def _rows(self):
        *history, step_sizes = super()._rows()
        return [*history, *(self._scales.values() if history else ()), step_sizes]

    def _names(self):
        *history, step_sizes = super()._names()
        scales = self._scales if self._history else ()
        return [*history, *(f"scales_{i}" for i in scales), step_sizes]

    def values(self, k: int | tf.Tensor) -> list[tf.Tensor]:
        """The potential's variables as they were in layer `k`, counted from 0."""
        values = super().values(k)
        for i, base in enumerate(self._base):
            if _is_kernel(base):
                difference = _decoded(values[i], base.shape, self.precision)
                if str(i) in self._scales:
                    difference *= tf.gather(self._scales[str(i)].value, k)
                values[i] = base.value + tf.cast(difference, base.dtype)
        return values

    def _taken(self, other, depth):
        if self._history is None or other._history is None:
            raise ValueError(
                "`copy_history` needs potentials that have their variables. Received one that is "
                "not built: call it or the stack on data first."
            )
        if isinstance(other, CompressedStack):
            return super()._taken(other, depth)
        expected = [tuple(v.shape) for v in self._base]
        received = [tuple(h.shape[1:]) for h in other._history]
        if expected != received:
            raise ValueError(
                "The layers do not fit the stack. Expected variables of the shapes "
                f"{expected}. Received: {received}"
            )
        rows, scales = [], []
        for base, h in zip(self._base, other._history):
            layers = h.value[:depth].numpy()
            if _is_kernel(base):
                layers, scale = _encoded(layers - base.numpy(), self.precision)
                scales += [] if scale is None else [scale]
            rows.append(layers)
        return [tf.convert_to_tensor(x) for x in (*rows, *scales, other.step_sizes)]

    def fingerprint(self, first: int = 0, before: int = 0, last: int | None = None) -> int:
        """A checksum of the stacked layers and of what they differ from."""
        base = self._base if self._history else ()
        return super().fingerprint(first, checksum(base, before), last)

    def append(self, *args, **kwargs) -> None:
        """Refused: a compressed history is finished."""
        raise ValueError(
            "A compressed stack takes no more layers. Expected a GradientLayerStack, as a tuner "
            f"has one. Received: a history of {self.depth} layers in {self.precision}"
        )

    def restore(self, layer: int) -> None:
        """Refused: the layers are differences to the potential as it is."""
        raise ValueError(
            "A compressed stack needs its potential as it is. Expected a GradientLayerStack. "
            f"Received: layer={layer!r}"
        )


def _is_kernel(v):
    return tf.as_dtype(v.dtype).is_floating and len(v.shape) > 1


def _encoded(d, precision):
    """Differences of shape (depth, ...) as rows of bits, and their scales (depth, channels)."""
    if precision == "bfloat16":
        return d.astype(tf.bfloat16.as_numpy_dtype), None
    top = np.abs(d).max(axis=tuple(range(1, d.ndim - 1)), keepdims=True, initial=0)
    scale = (top / _LEVELS[precision]).astype("float32")
    q = np.rint(d / np.where(scale > 0, scale, 1))
    scale = scale.reshape(len(d), -1)
    if precision == "int8":
        return q.astype("int8"), scale
    bits = (q + 8).astype("uint8").reshape(len(d), -1)
    bits = np.pad(bits, [(0, 0), (0, bits.shape[1] % 2)])
    low, high = np.split(bits, 2, axis=1)
    return low | high << 4, scale


def _decoded(row, shape, precision):
    """The integers of one layer, or its differences, as floats of this shape."""
    if precision == "int4":
        bits = tf.concat([tf.bitwise.bitwise_and(row, 15), tf.bitwise.right_shift(row, 4)], axis=0)
        row = tf.reshape(tf.cast(bits[: np.prod(shape)], "float32") - 8, shape)
    return tf.cast(row, "float32")
