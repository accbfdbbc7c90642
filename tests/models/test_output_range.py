"""Ranges of whole generators are in test_splitting.py."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_gradlayer as kgl
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
    ("scaled", "expected"),
    [
        (lambda x: (x + 1) / 2, (0, 1)),
        (lambda x: x * 127.5 + 127.5, (0, 255)),
        (lambda x: 1 - layers.Reshape((2, 1))(x), (0, 2)),
        (lambda x: layers.Rescaling(255.0, 255.0)(x), (0, 510)),
    ],
)
def test_a_range_moved_by_constants(scaled, expected):
    """The activation before is split off, and a tuner keeps the range."""
    z = keras.Input((3,))
    generator = keras.Model(z, scaled(layers.Dense(2, "tanh")(z)))
    assert output_range(generator) == expected
    base, head = kgl.models.split(generator)
    z = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(head(base(z)), generator(z), rtol=1e-6)
    assert np.abs(base(z)).max() != np.abs(np.tanh(base(z))).max()
    x = keras.Input(generator.output_shape[1:])
    critic = keras.Model(x, layers.Dense(1)(layers.Flatten()(x)))
    tuner = kgl.FineTuner(generator, critic, 0.1)
    assert tuner.output_range() == tuner.sampler().output_range() == expected


def test_division_by_an_activation_has_no_range():
    z = keras.Input((3,))
    generator = keras.Model(z, 1 / layers.Dense(2, "tanh")(z))
    assert output_range(generator) == (-np.inf, np.inf)


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
