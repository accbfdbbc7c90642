"""The system of Nagarajan & Kolter: D(x) = w x², G(z) = a z, with E z² = 1 and E x² = 1."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles


@keras.saving.register_keras_serializable("tests")
class Ones(kgl.latents.Gaussian):
    """Every latent is 1."""

    def sample(self, n, seed=None):
        return tf.ones((n, *self.shape))


@keras.saving.register_keras_serializable("tests")
class Square(keras.layers.Layer):
    def call(self, x):
        return tf.square(x)


def make(w=0.7, a=0.4, objective="wasserstein", rate=0.1, **kwargs):
    layers = keras.layers
    critic = keras.Sequential([layers.Input((1,)), Square(), layers.Dense(1, use_bias=False)])
    generator = keras.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    critic.set_weights([np.array([[w]])])
    generator.set_weights([np.array([[a]])])
    gan = kgl.GAN(generator, critic, objective, latent=Ones((1,)), **kwargs)
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(rate),
        critic_optimizer=keras.optimizers.SGD(rate),
        jit_compile=False,
    )
    return gan


def step(gan, *callbacks):
    """(w, a) after one step on data that is 1."""
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, callbacks=[*callbacks], verbose=0)
    return float(gan.critic.get_weights()[0][0, 0]), float(gan.generator.get_weights()[0][0, 0])


def derivatives(w, a, weight, objective):
    """∂V/∂w, and the derivative by a of V + weight (∂V/∂w)²: of the equation, in float64."""

    def value(w, a):
        if objective == "wasserstein":
            return w - w * a**2
        return -np.logaddexp(0, -w) - np.logaddexp(0, w * a**2)

    eps = 1e-4

    def slope(w, a):
        return (value(w + eps, a) - value(w - eps, a)) / (2 * eps)

    def loss(a):
        return value(w, a) + weight * slope(w, a) ** 2

    return slope(w, a), (loss(a + eps) - loss(a - eps)) / (2 * eps)


@pytest.mark.parametrize("objective", ["wasserstein", "minimax"])
@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("simultaneous", [True, False])
def test_one_step_against_the_equations(objective, weight, simultaneous):
    gan = make(objective=objective, simultaneous=simultaneous)
    found = step(gan, kgl.callbacks.GeneratorGradientRegularizer(weight))
    w, a = 0.7, 0.4
    new_w = w + 0.1 * derivatives(w, a, weight, objective)[0]
    seen = w if simultaneous else new_w
    new_a = a - 0.1 * derivatives(seen, a, weight, objective)[1]
    # second differences at steps of 1e-4 err by about 1e-7
    np.testing.assert_allclose(found, (new_w, new_a), atol=2e-6)


def test_simultaneous_updates_survive_saving(tmp_path):
    gan = make(simultaneous=True)
    step(gan)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert loaded.simultaneous
    regularizer = kgl.callbacks.GeneratorGradientRegularizer
    np.testing.assert_array_equal(step(gan, regularizer()), step(loaded, regularizer()))


def test_where_it_does_not_apply():
    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=8), 0.1)
    tuner.compile()
    callbacks = [kgl.callbacks.GeneratorGradientRegularizer()]
    with pytest.raises(TypeError, match="Expected a kgl.GAN. Received: a FineTuner"):
        tuner.fit(oracles.points(), callbacks=callbacks, verbose=0)
    with pytest.raises(ValueError, match="`weight` must be a non-negative"):
        kgl.callbacks.GeneratorGradientRegularizer(-1)
    with pytest.raises(ValueError, match=r"both players move at each step.*Received: 5 steps"):
        step(make(simultaneous=True), kgl.callbacks.CriticInnerLoop(5))
