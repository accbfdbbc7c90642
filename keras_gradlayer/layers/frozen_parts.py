"""Layers that compute with models they do not own."""

from collections.abc import Callable, Mapping, MutableMapping

import keras
import numpy as np


class FrozenParts(keras.layers.Layer):
    """A layer with parts that stay outside of it: live, shared with their owner, not trained.

    What Keras tracks as an attribute would appear in the trainable variables of every model the
    layer is put into, and be frozen or unfrozen with it. So the parts are kept past Keras'
    tracking, and the layer saves and loads their values itself. It does so whether or not the
    model saves the same part elsewhere, too, since a loaded model may hold two objects where the
    saved one held the same twice.
    """

    _PARTS = ()

    def _hold(self, **parts):
        for name, part in parts.items():
            object.__setattr__(self, name, part)

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
