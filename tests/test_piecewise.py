"""Leaving a zero out changes nothing but the work."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_gradlayer._gradients import input_gradient
from keras_gradlayer._piecewise import without_second_derivatives
from tests import oracles

layers = keras.layers
KINDS = {
    "relu in Dense": lambda: layers.Dense(6, "relu"),
    "leaky_relu in Dense": lambda: layers.Dense(6, "leaky_relu"),
    "ReLU": lambda: keras.Sequential([layers.Dense(6), layers.ReLU()]),
    "LeakyReLU": lambda: keras.Sequential([layers.Dense(6), layers.LeakyReLU(0.3)]),
    "Activation": lambda: keras.Sequential([layers.Dense(6), layers.Activation("relu")]),
    # these are left as they are
    "tanh": lambda: layers.Dense(6, "tanh"),
    "ReLU with a bound": lambda: keras.Sequential([layers.Dense(6), layers.ReLU(max_value=0.2)]),
    "own": lambda: layers.Dense(6, lambda x: tf.nn.relu(x)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_derivatives_are_the_same(kind):
    critic = keras.Sequential([layers.Input((2,)), KINDS[kind](), KINDS[kind](), layers.Dense(1)])
    x = tf.constant(oracles.points(16))

    def state():
        names = ("activation", "call")
        return [[vars(layer).get(n) for n in names] for layer in critic._flatten_layers()]

    before = state()

    def penalty():
        with tf.GradientTape() as tape:
            g = input_gradient(lambda x: critic(x, training=True), x)
            loss = tf.reduce_mean(tf.square(tf.norm(g, axis=1) - 1)) + tf.reduce_mean(critic(x))
        return loss, *tape.gradient(loss, critic.trainable_variables)

    expected = penalty()
    with without_second_derivatives(critic):
        found = penalty()
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    # and the model is what it was
    assert state() == before


def test_the_work_is_saved():
    """Fewer operations are left for the gradient of a gradient penalty."""
    critic = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.LeakyReLU(0.2)]
        + [layers.Conv2D(4, 3), layers.LeakyReLU(0.2), layers.Flatten(), layers.Dense(1)]
    )

    def convolutions(program):
        graph = tf.function(program).get_concrete_function().graph
        return sum(op.type.startswith("Conv2D") for op in graph.get_operations())

    def penalty():
        x = tf.ones((2, 8, 8, 3))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(input_gradient(critic, x)))
        return [g for g in tape.gradient(loss, critic.trainable_variables) if g is not None]

    def saved():
        with without_second_derivatives(critic):
            return penalty()

    assert convolutions(saved) < convolutions(penalty)


def test_an_error_leaves_nothing_behind():
    critic = keras.Sequential([layers.Input((2,)), layers.Dense(1, "relu")])
    with pytest.raises(RuntimeError), without_second_derivatives(critic):
        raise RuntimeError
    assert critic.layers[0].activation is keras.activations.relu


def test_layers_of_ones_own_are_left_alone():
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.activation = keras.activations.relu

        def call(self, x):
            return self.activation(x, negative_slope=0.1)

    model = keras.Sequential(
        [layers.Input((3, 2)), layers.SimpleRNN(4, activation="relu"), Own(), layers.Dense(1)]
    )
    x = tf.ones((2, 3, 2))
    with without_second_derivatives(model):
        np.testing.assert_allclose(tf.function(model)(x), model(x), rtol=1e-6)


def test_one_inside_another():
    """As of two replicas that are traced at once: the first to leave is not the last to enter."""
    critic = keras.Sequential([layers.Input((2,)), layers.LeakyReLU(), layers.Dense(1, "relu")])
    first, second = (without_second_derivatives(critic) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert "call" not in vars(critic.layers[0])
    assert critic.layers[1].activation is keras.activations.relu
