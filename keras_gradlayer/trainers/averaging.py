"""Averages of weights over training."""

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call
from keras_gradlayer._nesting import nested_layers


class Averaging(keras.callbacks.Callback):
    """Ends a fit with the weights that a trainer's optimizers have averaged (`use_ema`).

    It comes first, so that `EarlyStopping` restores what it will after it. Where an
    optimizer has taken no step there are no averages, and the weights stay as they were.
    """

    def __init__(self, trainer: keras.Model):
        super().__init__()
        self._ended = trainer.optimizer  # by Keras
        self._parts = []
        for part in ("generator", "critic"):
            if (optimizer := getattr(trainer, f"{part}_optimizer", None)) is not None:
                variables = getattr(trainer, part).trainable_variables
                untouched = averages(optimizer) and not optimizer.iterations.numpy()
                values = [v.numpy() for v in variables] if untouched else ()
                self._parts.append((optimizer, variables, values))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Put the averages in place."""
        for optimizer, variables, values in self._parts:
            if optimizer is not self._ended:
                optimizer.finalize_variable_values(variables)
            if not optimizer.iterations.numpy():
                for v, value in zip(variables, values):
                    v.assign(value)


def averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether it averages the weights that it trains."""
    return getattr(optimizer, "inner_optimizer", optimizer).use_ema


def reset_averages(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]) -> None:
    """Begin an optimizer's averages of the weights that it trains anew, from present values."""
    found = [v for v in optimizer.variables if v.name.endswith("_average")]
    for average, value in zip(found, variables, strict=True):
        average.assign(value)


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
