"""Layers that compute with models they do not own."""

from collections.abc import Callable, Mapping, MutableMapping

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _backend
from keras_gradlayer._serialization import Configured


class FrozenParts(Configured, keras.layers.Layer):
    """A layer with live parts that are shared with their owner and not trained by it.

    The parts stay outside Keras' own tracking, so that freezing or thawing a model around the layer
    leaves them as they are. Their values are listed among the layer's non-trainable weights all the
    same: `set_weights`, `clone_model` and `tf.train.Checkpoint` copy the layer as a whole. Files
    hold them too, whether or not the model saves the same part elsewhere, since a loaded model may
    hold two objects where the saved one held the same twice. On JAX and PyTorch the parts are
    saved, and not listed among the weights.
    """

    def _hold(self, **parts):
        # Past Keras' tracking, which would make the parts' variables trainable here, too.
        object.__setattr__(self, "_twins", {})
        self._followed = tf.Module()  # by tf.train.Checkpoint
        for name, part in parts.items():
            object.__setattr__(self, name, part)
            if isinstance(part, keras.layers.Layer):
                setattr(self._followed, name, part)
        self._make_twins()

    def _make_twins(self):
        """Have a twin of each variable before a call, in whose scope values may be casts."""
        self._frozen("variables")

    def _frozen(self, kind):
        """The parts' weights or variables: of the same values, but never trainable."""
        if not _backend.is_tensorflow():  # no two variables of Keras share one value there
            return []
        parts = [getattr(self, name, None) for name in self._PARTS]
        return [self._twin(v) for part in parts for v in getattr(part, kind, ())]

    def _twin(self, v):
        if id(v) not in self._twins:
            value = v.value
            if not isinstance(value, tf.Variable):  # a copy, as in an autocast scope
                return v
            with tf.init_scope():
                twin = keras.Variable(value, dtype=v.dtype, trainable=False, name=v.name)
            self._twins[id(v)] = twin, v  # which keeps `v` alive, and so its id its own
        return self._twins[id(v)][0]

    def beside(self, listed: list[keras.Variable]) -> list[keras.Variable]:
        """`listed` without what stands in it twice, as a part's own and as this layer's."""
        ids = {id(v) for v in listed}
        double = {id(twin) for twin, v in self._twins.values() if id(v) in ids}
        return [v for v in listed if id(v) not in double]

    @property
    def variables(self) -> list[keras.Variable]:
        """The layer's variables and those of its parts, none of them trainable."""
        return super().variables + self._frozen("variables")

    @property
    def weights(self) -> list[keras.Variable]:
        """The layer's weights and those of its parts, none of them trainable."""
        return super().weights + self._frozen("weights")

    def __dir__(self):
        # Where Keras looks for what to save; the parts are saved below.
        return [name for name in super().__dir__() if name not in self._PARTS]

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save the values of the parts' variables."""
        for name in self._PARTS:
            for i, v in enumerate(variables_of(getattr(self, name))):
                store[f"{name}_{i}"] = v.numpy()

    def load_own_variables(self, store: Mapping) -> None:
        """Load the values of the parts' variables."""
        for name in self._PARTS:
            for i, v in enumerate(variables_of(getattr(self, name))):
                v.assign(np.asarray(store[f"{name}_{i}"]))


def variables_of(part: keras.layers.Layer | Callable | None) -> list[keras.Variable]:
    """All variables a part computes with; a plain callable has none."""
    return part.variables if isinstance(part, keras.layers.Layer) else []
