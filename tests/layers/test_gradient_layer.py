import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles


def make(input_shape=(3,)):
    keras.utils.set_random_seed(0)
    return kgl.layers.GradientLayer(oracles.smooth_critic(input_shape), 0.5)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_contract(shape):
    contract.check_layer(lambda: make(shape), shape)


def test_saving(tmp_path):
    contract.check_layer_saving(make, (3,), tmp_path)


def test_precision():
    contract.check_layer_precision(make, (3,))


@pytest.mark.parametrize("shape", [(2,), (5, 4), (3, 3, 2)])
def test_linear_potential_is_a_shift(shape):
    a = np.random.default_rng(0).normal(size=shape)
    x = np.random.default_rng(1).normal(size=(6, *shape)).astype("float32")
    layer = kgl.layers.GradientLayer(oracles.Linear(a), 0.25)
    np.testing.assert_allclose(layer(x), x + 0.25 * a, rtol=1e-6, atol=1e-6)


def test_step_against_finite_differences():
    critic = oracles.smooth_critic((3,), "float64")
    x = np.random.default_rng(0).normal(size=(4, 3))
    layer = kgl.layers.GradientLayer(critic, 0.5, dtype="float64")
    expected = x + 0.5 * oracles.numpy_input_gradient(critic.get_weights(), x)
    # central differences in float64 with eps = 1e-6 err by about 1e-10
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-8)


def test_gradient_through_the_layer_is_exact():
    """The weights of a layer below see the potential's second derivatives."""
    critic = oracles.smooth_critic((3,), "float64")
    below = keras.layers.Dense(3, use_bias=False, dtype="float64")
    layer = kgl.layers.GradientLayer(critic, 0.5, dtype="float64")
    x = np.random.default_rng(0).normal(size=(4, 3))
    target = np.random.default_rng(1).normal(size=(4, 3))
    below.build((None, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(target * layer(below(x)))
    gradient = tape.gradient(loss, below.kernel.value)

    def numpy_loss(kernel):
        h = x @ kernel
        gradient = oracles.numpy_input_gradient(critic.get_weights(), h)
        return np.sum(target * (h + 0.5 * gradient))

    # two nested differences: the outer step has to be large beside the inner one's error
    expected = oracles.finite_difference(numpy_loss, below.kernel.numpy(), eps=1e-4)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_the_potential_is_live_and_in_inference_mode():
    critic = keras.Sequential(
        [
            keras.layers.Input((2,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    layer = kgl.layers.GradientLayer(critic, 1.0)
    x = oracles.points(4)
    critic.layers[-1].set_weights([np.array([[1.0], [2.0]])])
    scale = 1 / np.sqrt(1 + 1e-3)  # an untrained batch normalization divides by sqrt(1 + epsilon)
    np.testing.assert_allclose(layer(x, training=True), x + scale * np.array([1, 2]), rtol=1e-6)
    critic.layers[-1].set_weights([np.array([[3.0], [4.0]])])
    np.testing.assert_allclose(layer(x), x + scale * np.array([3, 4]), rtol=1e-6)
    assert critic.trainable_variables  # left trainable for its owner


@keras.saving.register_keras_serializable("tests")
def bowl(x):
    return -0.5 * tf.reduce_sum(x * x, axis=1)


def test_callable_potential(tmp_path):
    x = oracles.points(4)
    model = keras.Sequential([keras.layers.Input((2,)), kgl.layers.GradientLayer(bowl, 0.25)])
    np.testing.assert_allclose(model(x), 0.75 * x, rtol=1e-6)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_unbuilt_potential_is_built():
    layer = kgl.layers.GradientLayer(keras.Sequential([keras.layers.Dense(1)]), 0.1)
    assert layer(oracles.points(3)).shape == (3, 2)


@pytest.mark.parametrize("step_size", [0, -1, float("nan"), float("inf"), "0.1", None, True])
def test_bad_step_size(step_size):
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number. Received"):
        kgl.layers.GradientLayer(bowl, step_size)


def test_bad_potential():
    with pytest.raises(TypeError, match="must be a Keras model or layer, or a callable. Received"):
        kgl.layers.GradientLayer("critic", 0.1)
    layer = kgl.layers.GradientLayer(keras.layers.Dense(2), 0.1)
    with pytest.raises(ValueError, match=r"one score a sample.*Received: output shape \(None, 2\)"):
        layer(oracles.points(3))
    layer = kgl.layers.GradientLayer(oracles.smooth_critic((5,)), 0.1)
    with pytest.raises(ValueError, match=r"does not take samples of shape \(2,\)"):
        layer(oracles.points(3))


@pytest.mark.parametrize("nested", [False, True])
def test_a_critic_that_the_model_uses_elsewhere_too(tmp_path, nested):
    """A step, and then the score where it leads, with one critic."""
    critic = oracles.smooth_critic((3,))
    inputs = keras.Input((3,))
    score = critic
    if nested:
        score = keras.Sequential([keras.layers.Input((3,)), critic])
    model = keras.Model(inputs, score(kgl.layers.GradientLayer(critic, 0.5)(inputs)))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
