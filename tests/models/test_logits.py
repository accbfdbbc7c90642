"""A critic's final sigmoid is found by its values, and taken off exactly."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_gradlayer.models.logits import gives_probabilities, without_sigmoid
from tests import oracles


def sequential(*ends, shape=(2,)):
    return keras.Sequential([layers.Input(shape), layers.Dense(6, "tanh"), *ends])


def functional(end):
    x = keras.Input((2,))
    return keras.Model(x, end(layers.Dense(1)(layers.Dense(6, "tanh")(x))))


def image():
    return keras.Sequential(
        [
            layers.Input((4, 4, 3)),
            layers.Conv2D(1, 4, activation="sigmoid"),
            layers.Flatten(),
        ]
    )


WITH = {
    "fused": lambda: sequential(layers.Dense(1, "sigmoid")),
    "layer": lambda: sequential(layers.Dense(1), layers.Activation("sigmoid")),
    "reshaped": lambda: sequential(layers.Dense(1, "sigmoid"), layers.Reshape((1,))),
    "operation": lambda: functional(ops.sigmoid),
    "function": lambda: functional(keras.activations.sigmoid),
    "squeezed": lambda: functional(lambda x: ops.squeeze(ops.sigmoid(x), -1)),
    "nested": lambda: sequential(
        keras.Sequential([layers.Input((6,)), layers.Dense(4), layers.Dense(1, "sigmoid")])
    ),
    "image": image,
}


@pytest.mark.parametrize("case", WITH)
def test_taken_off(case):
    critic = WITH[case]()
    shape = critic.input_shape[1:]
    x = np.random.default_rng(0).normal(size=(9, *shape)).astype("float32")
    before = np.ravel(critic(x)).astype("float64")
    logits = without_sigmoid(critic)
    assert logits(x).shape == (9, 1)
    np.testing.assert_allclose(np.ravel(logits(x)), np.log(before / (1 - before)), atol=1e-5)
    np.testing.assert_array_equal(np.ravel(critic(x)), before.astype("float32"))
    assert gives_probabilities(critic, shape)
    assert not gives_probabilities(logits, shape)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    critic = sequential(layers.Dense(1, "sigmoid"))
    keras.config.set_dtype_policy("float32")
    assert without_sigmoid(critic).dtype_policy.name == "mixed_bfloat16"


@keras.saving.register_keras_serializable("tests")
class Probability(keras.Model):
    """A critic without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(1, "sigmoid")

    def call(self, x):
        return self.dense(x)


BOUNDED = {
    "hard sigmoid": lambda: sequential(layers.Dense(1, "hard_sigmoid")),
    "lambda": lambda: sequential(layers.Dense(1), layers.Lambda(ops.sigmoid)),
    "softmax of one": lambda: sequential(layers.Dense(1, "softmax")),
    "one of two": lambda: functional(
        lambda x: ops.softmax(layers.Concatenate()([x, 0 * x]))[:, :1]
    ),
    "subclassed": Probability,
    "patches": lambda: keras.Sequential(
        [
            layers.Input((2, 2, 3)),
            layers.Conv2D(1, 1, activation="sigmoid"),
            layers.GlobalAveragePooling2D(),
        ]
    ),
}


@pytest.mark.parametrize("case", BOUNDED)
def test_probabilities_without_a_sigmoid_to_take_off(case):
    critic = BOUNDED[case]()
    shape = critic.input_shape[1:] if case != "subclassed" else (2,)
    assert without_sigmoid(critic) is None
    assert gives_probabilities(critic, shape)


def test_legal_critics():
    zeros = layers.Dense(1, kernel_initializer="zeros")
    for critic in (
        sequential(zeros),
        sequential(layers.Dense(1, "tanh")),
        sequential(layers.Dense(1, "relu", kernel_initializer="ones", bias_initializer="ones")),
        oracles.Linear([0.0, 0.0]),
        oracles.Linear([1.0, 2.0]),
    ):
        assert without_sigmoid(critic) is None
        assert not gives_probabilities(critic, (2,))
