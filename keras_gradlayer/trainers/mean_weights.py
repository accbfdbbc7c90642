"""The mean of a critic's weights over a game, and statistics that fit it."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call
from keras_gradlayer._nesting import nested_layers


class MeanWeights(keras.callbacks.Callback):
    """The mean of a model's weights over all updates of a fit; `apply` gives it to the model."""

    def __init__(self, of: keras.Model):
        super().__init__()
        self._weights = [w for w in of.weights if _checks.is_float(w.dtype)]  # others count
        self._means, self._updates = [np.zeros(w.shape) for w in self._weights], 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Take up the weights that an update has left."""
        self._updates += 1
        for mean, w in zip(self._means, self._weights):
            mean += (w.numpy() - mean) / self._updates

    def apply(self) -> None:
        """Set the weights to their means."""
        if not self._updates:
            raise ValueError("The data gave no batch. Expected at least one.")
        for mean, w in zip(self._means, self._weights):
            w.assign(mean)


def recompute_statistics(
    critic: keras.Model, batches: Iterable[tuple[tf.Tensor, tf.Tensor | None]]
) -> None:
    """Give batch normalization the mean statistics of these batches of (samples, conditions).

    Those that were kept while the weights changed are not of their mean.
    """
    normalizations = [
        layer
        for layer in nested_layers(critic)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not normalizations:
        return
    momenta = [layer.momentum for layer in normalizations]
    for i, (x, condition) in enumerate(batches):
        for layer in normalizations:
            layer.momentum = i / (i + 1)
        call(critic, x, condition, training=True)
    for layer, momentum in zip(normalizations, momenta):
        layer.momentum = momentum
