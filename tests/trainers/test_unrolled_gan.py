import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.callbacks.test_generator_gradient_regularizer import Ones, Square


def make(**kwargs):
    keras.utils.set_random_seed(0)
    critic = kgl.models.mlp_critic((2,), units=8)
    gan = kgl.UnrolledGAN(oracles.point_generator(), critic, steps=3, step_size=0.1)
    gan.compile(keras.optimizers.Adam(1e-3), "rmsprop", **kwargs)
    return gan


def test_contract(tmp_path):
    contract.check_trainer(make, tmp_path)


def parabola(w, a, steps, objective="wasserstein", step_size=0.05):
    """D(x) = w x² and G(z) = a z on data and latents that are 1: V = f(w) + f(−w a²)."""
    layers = keras.layers
    critic = keras.Sequential([layers.Input((1,)), Square(), layers.Dense(1, use_bias=False)])
    generator = keras.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    critic.set_weights([np.array([[w]])])
    generator.set_weights([np.array([[a]])])
    gan = kgl.UnrolledGAN(
        generator, critic, steps, step_size, objective, Ones((1,)), simultaneous=True
    )
    gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2), jit_compile=False)
    return gan


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("step_size", [0.05, None])
def test_closed_form(steps, step_size):
    """V is linear in w: k steps add k η (1 − a²) to it, and V_k = w (1 − a²) + k η (1 − a²)²."""
    w, a = 0.7, 0.4
    gan = parabola(w, a, steps, step_size=step_size)
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    k_eta = steps * (0.05 if step_size else 0.2)  # the critic's learning rate by default
    slope = -2 * a * w - 4 * k_eta * a * (1 - a**2)
    np.testing.assert_allclose(gan.generator.get_weights()[0], a - 0.1 * slope, rtol=1e-6)
    # the critic itself takes its one step
    np.testing.assert_allclose(gan.critic.get_weights()[0], w + 0.2 * (1 - a**2), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_minimax_against_finite_differences(steps):
    def value(w, a):
        return -np.logaddexp(0, -w) - np.logaddexp(0, w * a**2)

    def unrolled(a, w=0.7):
        for _ in range(steps):
            w += 0.05 * (1 / (1 + np.exp(w)) - a**2 / (1 + np.exp(-w * a**2)))
        return value(w, a)

    slope = (unrolled(0.4 + 1e-5) - unrolled(0.4 - 1e-5)) / 2e-5
    gan = parabola(0.7, 0.4, steps, "minimax")
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    np.testing.assert_allclose(gan.generator.get_weights()[0], 0.4 - 0.1 * slope, rtol=1e-6)


def test_the_penalty_is_unrolled_too():
    """A penalty that pulls w to 3 changes what the generator foresees."""

    class Pull(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            [w] = self.model.critic.trainable_variables
            return 0.5 * keras.ops.sum(keras.ops.square(keras.ops.convert_to_tensor(w) - 3.0))

    gan = parabola(0.7, 0.4, 1)
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, callbacks=[Pull()], verbose=0)
    a, w = 0.4, 0.7
    ahead = w + 0.05 * ((1 - a**2) + (3 - w))
    slope = -2 * a * ahead - 0.05 * 2 * a * (1 - a**2)
    np.testing.assert_allclose(gan.generator.get_weights()[0], a - 0.1 * slope, rtol=1e-6)


def test_bad_arguments():
    models = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    for bad in (-1, 1.5, True, "5"):
        with pytest.raises(ValueError, match="`steps` must be an integer of at least 0"):
            kgl.UnrolledGAN(*models, steps=bad)
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        kgl.UnrolledGAN(*models, step_size=0)
