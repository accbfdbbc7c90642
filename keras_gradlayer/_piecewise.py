"""Piecewise linear activations whose second derivative is left out, for it is zero.

TensorFlow gives zeros for it, and a gradient penalty then takes them all the way through the
network: about a seventh of a critic update.
"""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


@tf.custom_gradient
def _relu(x):
    return tf.nn.relu(x), lambda dy: tf.raw_ops.ReluGrad(gradients=dy, features=tf.stop_gradient(x))


def _leaky_relu(x, slope=0.2):
    @tf.custom_gradient
    def leaky_relu(x):
        return tf.nn.leaky_relu(x, slope), lambda dy: tf.raw_ops.LeakyReluGrad(
            gradients=dy, features=tf.stop_gradient(x), alpha=slope
        )

    return leaky_relu(x)


def _substitute(layer):
    """Name and value of the attribute that makes a layer compute so, or `None`."""
    if not type(layer).__module__.startswith("keras."):
        return None  # its own affair
    activation = vars(layer).get("activation")
    if activation is keras.activations.relu:
        return "activation", _relu
    if activation is keras.activations.leaky_relu:
        return "activation", _leaky_relu
    if "call" in vars(layer):
        return None
    if type(layer) is keras.layers.LeakyReLU:
        return "call", lambda x: _leaky_relu(x, float(layer.negative_slope))
    if type(layer) is keras.layers.ReLU and (
        layer.max_value is None and not layer.threshold and not layer.negative_slope
    ):
        return "call", _relu
    return None


@contextlib.contextmanager
def without_second_derivatives(model: keras.layers.Layer) -> Iterator[None]:
    """Inside, ReLU and leaky ReLU in Keras' own layers have first derivatives alone."""
    changed = []
    try:
        for layer in model._flatten_layers():
            found = _substitute(layer)
            if found:
                name, value = found
                before = vars(layer).get(name)
                object.__setattr__(layer, name, value)
                changed.append((layer, name, before))
        yield
    finally:
        for layer, name, before in reversed(changed):
            if before is None:
                object.__delattr__(layer, name)
            else:
                object.__setattr__(layer, name, before)
