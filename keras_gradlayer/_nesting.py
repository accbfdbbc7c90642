"""The layers inside a layer."""

from collections.abc import Iterator

import keras


def nested_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layer itself and all layers inside it, each once."""
    waiting, seen = [layer], set()
    while waiting:
        layer = waiting.pop(0)
        if isinstance(layer, dict):
            waiting += layer.values()
        elif isinstance(layer, (list, tuple)):
            waiting += layer
        elif isinstance(layer, keras.layers.Layer) and id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            # A model lists its layers; wrappers, cells and custom layers have them as attributes.
            waiting += layer.layers if isinstance(layer, keras.Model) else vars(layer).values()


def computes_in(layer: keras.layers.Layer, dtype: str) -> bool:
    """Whether the layer or one inside it computes in this dtype."""
    return any(part.compute_dtype == dtype for part in nested_layers(layer))
