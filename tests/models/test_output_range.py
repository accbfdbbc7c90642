"""Ranges of whole generators are in test_splitting.py."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_gradlayer.models.output_range import output_range, range_mismatch


@pytest.mark.parametrize("policy", ["float64", "bfloat16", "float16", "mixed_float16"])
@pytest.mark.parametrize(
    ("activation", "expected"),
    [("tanh", (-1, 1)), ("sigmoid", (0, 1)), ("softsign", (-1, 1)), ("relu", (0, np.inf))],
)
def test_every_precision(policy, activation, expected):
    keras.config.set_dtype_policy(policy)
    generator = keras.Sequential([layers.Input((3,)), layers.Dense(2, activation)])
    assert output_range(generator) == expected


@pytest.mark.parametrize("least", [("gelu", -0.169971), ("silu", -0.278465), ("mish", -0.308840)])
def test_the_least_value_between(least):
    """Of activations that fall before they rise; their minima, to six places."""
    activation, value = least
    generator = keras.Sequential([layers.Input((3,)), layers.Dense(2, activation)])
    assert output_range(generator) == (pytest.approx(value, abs=1e-5), np.inf)


def test_sizes_that_are_not_known():
    z = keras.Input((None, None, 3))
    x = layers.Cropping2D(2)(layers.Conv2D(3, 1, activation="sigmoid")(z))
    assert output_range(keras.Model(z, x)) == (0, 1)


@pytest.mark.parametrize(
    ("low", "high", "bounds", "said"),
    [
        (0.0, 255.0, (-1, 1), r"lies in \[0, 255\].*only gives values in \[-1, 1\]"),
        (-1.0, 1.0, (0, 1), r"lies in \[-1, 1\].*only gives values in \[0, 1\]"),
        (-2.0, 5.0, (0, np.inf), r"only gives values in \[0, inf\]"),
        (0.0, 1.0, (-1, 1), r"lies in \[0, 1\].*gives values in \[-1, 1\].*`2 \* x - 1`"),
        (0.02, 0.97, (-1.0, 1.0), r"gives values in \[-1, 1\].*`2 \* x - 1`"),
    ],
)
def test_range_mismatch(low, high, bounds, said):
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(range_mismatch(low, high, bounds))


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [
        (-1.0, 1.0, (-1, 1)),
        (-1.0005, 1.0, (-1, 1)),  # rounding
        (-0.4, 1.0, (-1, 1)),
        (0.1, 0.6, (-1, 1)),  # points in a corner
        (0.0, 1.0, (0, 1)),
        (0.0, 1.0, (-np.inf, np.inf)),
        (0.0, 50.0, (0, np.inf)),
    ],
)
def test_data_that_suits_the_range(low, high, bounds):
    assert range_mismatch(low, high, bounds) is None
