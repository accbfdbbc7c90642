"""Fully connected critics, for points in the plane and other small data."""

import keras


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

    Example:
        >>> critic = mlp_critic((2,))
    """
    stack = [keras.layers.Input(tuple(input_shape)), keras.layers.Flatten()]
    for _ in range(depth):
        stack += [keras.layers.Dense(units, activation="relu"), *dropouts(dropout)]
    return keras.Sequential([*stack, keras.layers.Dense(1)], name="mlp_critic")


def dropouts(rate):
    """A dropout of that rate, or none at 0."""
    return [keras.layers.Dropout(rate)] if rate else []
