"""R1 and R2: where the gradient is taken, and what of it."""

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.callbacks.test_gradient_penalty import Trainer, images, make_trainer

PENALTIES = [kgl.callbacks.R1Penalty, kgl.callbacks.R2Penalty]


def penalty(cls, critic, real, fake, weight):
    callback = cls(weight)
    callback.set_model(Trainer(critic))
    return callback.critic_loss(tf.constant(real), tf.constant(fake))


@pytest.mark.parametrize("cls", PENALTIES)
def test_contract(cls, tmp_path):
    contract.check_step_callback(cls, make_trainer, tmp_path)


@pytest.mark.parametrize("cls", PENALTIES)
def test_linear_critic(cls):
    a = np.random.default_rng(1).normal(size=(4, 4, 3))
    found = penalty(cls, oracles.Linear(a), *images(), weight=7.0)
    np.testing.assert_allclose(found, 7.0 / 2 * np.sum(a**2), rtol=1e-5)
    flat = oracles.Linear(np.zeros((4, 4, 3)))
    assert penalty(cls, flat, *images(), weight=7.0) == 0


@pytest.mark.parametrize("cls", PENALTIES)
def test_quadratic_critic(cls):
    """∇f = c − x, at the real samples or the generated ones."""
    center = np.array([0.3, -0.2])
    real, fake = oracles.points(20), oracles.points(20, seed=1)
    x = real if cls is kgl.callbacks.R1Penalty else fake
    found = penalty(cls, oracles.Quadratic(center), real, fake, weight=3.0)
    expected = 3.0 / 2 * np.mean(np.sum((x - center) ** 2, axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("cls", PENALTIES)
def test_it_holds_a_wasserstein_critic(cls, recwarn):
    make_trainer().fit(oracles.points(), callbacks=[cls()], verbose=0)
    assert not [w for w in recwarn if "Lipschitz" in str(w.message)]
    with pytest.raises(ValueError, match="`weight` must be a non-negative"):
        cls(-1)
    with pytest.raises(ValueError, match="WeightClipping"):
        make_trainer().fit(
            oracles.points(), callbacks=[cls(), kgl.callbacks.WeightClipping()], verbose=0
        )
