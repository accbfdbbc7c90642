"""Theorem 1 and the gradient flow of Nitanda & Suzuki, with a critic that is solved for exactly.

The critic is f = w·ψ(x), and R_f = ‖w‖²/2. The best one is w* = (E ψ(x) − E ψ(φ(z)))/λ, so that
L(φ) = ‖E ψ(x) − E ψ(φ(z))‖²/(2λ) and ∇_φ L = −∇f*. One SGD step of 1/λ on all the data goes from
any critic to the best. That makes `FineTuner.fit` Algorithm 3, functional gradient descent.
"""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

WEIGHT = 2.0  # λ


def descend(degree, eta, layers):
    """L before each layer, and E‖∇_φ L‖² as it was logged."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.layers.Input((2,))
    if degree == 2:
        x = keras.layers.Concatenate()([x, keras.ops.square(x)])
    regularizer = keras.regularizers.L2(WEIGHT / 2)
    score = keras.layers.Dense(1, use_bias=False, kernel_regularizer=regularizer)(x)
    critic = keras.Model(inputs, score)
    tuner = kgl.FineTuner(
        None, critic, eta, output_activation=None, max_layers=layers, particles=200
    )
    tuner.compile(critic_optimizer=keras.optimizers.SGD(1 / WEIGHT))
    data = 1.5 + 0.5 * oracles.points(200)
    penalty = kgl.callbacks.GradientPenalty(0.0)
    fit = {"batch_size": 200, "shuffle": False, "callbacks": [penalty], "verbose": 0}
    losses, norms = [], []
    for _ in range(layers):
        tuner.prepare(200)
        z = keras.ops.convert_to_numpy(tuner.carried.positions).astype("float64")
        difference = features(data, degree).mean(axis=0) - features(z, degree).mean(axis=0)
        losses.append(np.sum(difference**2) / (2 * WEIGHT))
        logs = tuner.fit(data, **fit).history
        norms.append(logs["flow_norm"][0])
        np.testing.assert_allclose(critic_weights(tuner), difference / WEIGHT, atol=1e-5)
        # in closed form, −f* moves samples by ∇w·ψ
        slope = difference[:2] / WEIGHT
        if degree == 2:
            slope = slope + 2 * z * difference[2:] / WEIGHT
        expected = np.mean(np.sum(np.broadcast_to(slope, z.shape) ** 2, axis=1))
        assert norms[-1] == pytest.approx(expected, rel=1e-4, abs=1e-6)  # float32
    return np.array(losses), np.array(norms)


def features(x, degree):
    x = np.asarray(x, "float64")
    return x if degree == 1 else np.concatenate([x, x**2], axis=1)


def critic_weights(tuner):
    return tuner.critic.get_weights()[0][:, 0]


def reached(eta, degree):
    """min_k ‖∇L(φ_k)‖² for each T, and Theorem 1's bound on it, 2 (L(φ_0) − L*)/(ηT); L* = 0."""
    losses, norms = descend(degree, eta, 12)
    return np.minimum.accumulate(norms), 2 * losses[0] / (eta * np.arange(1, 13)), losses, norms


@pytest.mark.parametrize(("degree", "eta"), [(1, WEIGHT / 2), (2, WEIGHT / 10)])
def test_the_bound(degree, eta):
    """It holds for η ≤ 1/L: L = 1/λ for degree 1, and some ten times that here for degree 2."""
    least, bound, losses, norms = reached(eta, degree)
    assert (least <= bound).all()
    assert (least / bound).max() > 0.15  # near enough to say something
    # what a step of an L-smooth function gains: L(φ_k) − L(φ_k+1) ≥ η/2 ‖∇L(φ_k)‖²
    gains = losses[:-1] - losses[1:]
    assert (gains >= eta / 2 * norms[:-1] - 1e-6).all()


def test_longer_steps_break_the_bound():
    least, bound, *_ = reached(WEIGHT / 4, degree=2)
    assert (least > bound).any()


@pytest.mark.parametrize("degree", [1, 2])
def test_the_energy_identity(degree):
    """dL/dt = −‖∇L‖² along the flow: what a step of η misses of it halves with η."""
    misses = []
    for eta in (0.008, 0.004, 0.002):
        losses, norms = descend(degree, eta, 2)
        misses.append(1 + (losses[1] - losses[0]) / (eta * norms[0]))
    assert misses[0] / misses[1] == pytest.approx(2, rel=0.1)
    assert misses[1] / misses[2] == pytest.approx(2, rel=0.1)
    assert 0 < misses[-1] < 0.1
