import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.callbacks.test_gradient_penalty import Trainer, make_trainer


def penalty(critic, real, **kwargs):
    callback = kgl.callbacks.DRAGANPenalty(**kwargs)
    callback.set_model(Trainer(critic))
    return callback.critic_loss(tf.constant(real), tf.zeros_like(real))


def test_contract(tmp_path):
    contract.check_step_callback(kgl.callbacks.DRAGANPenalty, make_trainer, tmp_path)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_linear_critic_in_closed_form(noise):
    a = np.random.default_rng(1).normal(size=(4, 4, 3))
    real = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    found = penalty(oracles.Linear(a), real, weight=7.0, target=2.0, noise=noise)
    np.testing.assert_allclose(found, 7.0 * (np.linalg.norm(a) - 2.0) ** 2, rtol=1e-5)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_where_the_norm_is_taken(noise):
    """Around the data, at distances in units of its standard deviation, never at the samples."""
    seen = []

    def critic(x):
        seen.append(np.asarray(x))
        return tf.reduce_sum(x, axis=1)

    n, d = 4000, 50
    real = np.random.default_rng(0).normal(3.0, 2.0, size=(n, d)).astype("float32")
    penalty(critic, real, noise=noise, stddev=0.25)
    delta = (seen[0] - real) / (0.25 * real.std())
    if noise == "normal":
        # mean and variance of n d values err by at most 4 standard errors
        assert abs(delta.mean()) < 4 / np.sqrt(n * d)
        assert abs(delta.var() - 1) < 4 * np.sqrt(2 / (n * d))
    else:
        # δ = α u: each sample's largest entry is near its α, and α is uniform
        assert delta.min() >= -1e-5
        alpha = delta.max(axis=1) * (d + 1) / d
        assert abs(alpha.mean() - 0.5) < 4 / np.sqrt(12 * n)
        np.testing.assert_allclose(delta.mean(), 0.25, atol=4 / np.sqrt(48 * n))


def test_quadratic_critic_against_numpy():
    """‖∇f(x̂)‖ = ‖x̂ − center‖ at the very points that the critic was shown."""
    seen = []
    inner = oracles.Quadratic(np.zeros(3))

    def critic(x):
        seen.append(np.asarray(x))
        return inner(x)

    real = np.random.default_rng(0).normal(size=(9, 3)).astype("float32")
    found = penalty(critic, real, weight=2.0)
    norms = np.linalg.norm(seen[0].astype("float64"), axis=1)
    np.testing.assert_allclose(found, 2.0 * np.mean((norms - 1) ** 2), rtol=1e-5)


def test_bad_arguments():
    for kwargs, message in (
        ({"weight": -1}, "`weight` must be a non-negative"),
        ({"stddev": 0}, "`stddev` must be a positive"),
        ({"target": float("nan")}, "`target` must be a non-negative"),
        ({"noise": "poisson"}, "`noise` must be 'uniform' or 'normal'. Received: noise='poisson'"),
    ):
        with pytest.raises(ValueError, match=message):
            kgl.callbacks.DRAGANPenalty(**kwargs)
