"""Fully connected critics, for points in the plane and other small data."""

import math

import keras

from keras_gradlayer import _checks


def mlp_critic(
    input_shape: tuple[int, ...], units: int = 128, depth: int = 3, dropout: float = 0.0
) -> keras.Model:
    """A fully connected critic, (batch, *input_shape) -> (batch, 1), of ReLU layers.

    The paper's "four-layer" network of its toy experiments is `depth=3` and the output.

    Args:
        input_shape: shape of one sample, without the batch.
        units: width of the hidden layers.
        depth: number of hidden layers.
        dropout: rate of a dropout after each hidden layer; 0 for none.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> critic = mlp_critic((2,))
    """
    input_shape = _checks.sample_shape("input_shape", input_shape)
    _checks.positive_int("units", units)
    _checks.positive_int("depth", depth, zero_ok=True, most=1000)
    weights = units * (math.prod(input_shape) + depth * units)
    _checks.fits_memory("units", units, 4 * weights)
    stack = [keras.layers.Input(input_shape), keras.layers.Flatten()]
    for _ in range(depth):
        stack += [keras.layers.Dense(units, activation="relu"), *dropouts(dropout)]
    return keras.Sequential([*stack, keras.layers.Dense(1)], name="mlp_critic")


def dropouts(rate):
    """A dropout of that rate, or none at 0."""
    if _checks.fraction("dropout", rate) == 1:
        raise ValueError(f"`dropout` must be below 1. Received: dropout={rate!r}")
    return [keras.layers.Dropout(rate)] if rate else []
