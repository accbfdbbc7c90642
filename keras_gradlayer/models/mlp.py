"""Fully connected critics, for points in the plane and other small data."""

import math

import keras

from keras_gradlayer import _checks


def mlp_critic(input_shape: tuple[int, ...], units: int = 128, depth: int = 3) -> keras.Model:
    """A fully connected critic, (batch, *input_shape) -> (batch, 1), of ReLU layers.

    The paper's "four-layer" network of its toy experiments is `depth=3` and the output.

    Args:
        input_shape: shape of one sample, without the batch.
        units: width of the hidden layers.
        depth: number of hidden layers.

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
    return keras.Sequential(
        [keras.layers.Input(input_shape), keras.layers.Flatten()]
        + [keras.layers.Dense(units, activation="relu") for _ in range(depth)]
        + [keras.layers.Dense(1)],
        name="mlp_critic",
    )
