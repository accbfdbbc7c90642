"""The claims of Arjovsky & Bottou on two parallel lines."""

import numpy as np
import pytest

from keras_gradlayer.experiments.vanishing_gradients import THETA, train_critic


@pytest.fixture(scope="module")
def found():
    return {
        name: train_critic(name, updates=1000, every=50)
        for name in ("minimax", "non_saturating", "wasserstein")
    }


def test_minimax_vanishes(found):
    """Theorem 2.4: as the critic nears the perfect one, the gradient goes to zero."""
    gradient = found["minimax"]["gradient"]
    assert gradient[-5:].max() < 0.02 * gradient.max()


def test_the_alternative_does_not_vanish_but_grows(found):
    """Theorem 2.6: −log D keeps a gradient, and one that grows as the critic gets better."""
    gradient = found["non_saturating"]["gradient"]
    assert gradient[-5:].min() > 50 * found["minimax"]["gradient"][-5:].max()
    assert gradient[-5:].mean() > 3.0


def test_wasserstein_keeps_the_slope_of_the_distance(found):
    """∂W/∂θ = 1, and the critic's estimate of W is |θ|."""
    # the penalty is soft: the norm settles a little above 1, by about 1/(2 λ)
    np.testing.assert_allclose(found["wasserstein"]["gradient"][-5:], 1.0, atol=0.15)
    np.testing.assert_allclose(found["wasserstein"]["value"][-5:], THETA, atol=0.1)


def test_the_divergence_is_log_2(found):
    """V = 2 JS − log 4, which is 0 where JS = log 2: the samples are told apart perfectly."""
    value = found["minimax"]["value"]
    assert value[0] == pytest.approx(-np.log(4), abs=0.1)
    assert -0.02 < value[-1] < 0


def test_noise_brings_the_slope_of_the_divergence_back():
    """Corollary 3.2: the minimax gradient is then 2 ∇JSD of the two distributions with noise.

    Of the two coordinates only the first differs: N(0, σ²) and N(θ, σ²).
    """
    sigma = 0.25
    found = train_critic("minimax", updates=2000, every=50, noise=sigma)
    x = np.linspace(-3, 3.5, 20_001)

    def divergence(theta):
        p, q = (np.exp(-((x - m) ** 2) / (2 * sigma**2)) for m in (0, theta))
        p, q = p / p.sum(), q / q.sum()
        m = (p + q) / 2
        return (p * np.log(p / m) + q * np.log(q / m)).sum() / 2

    eps = 1e-4
    slope = (divergence(THETA + eps) - divergence(THETA - eps)) / eps  # twice the derivative
    # a mean over 20 batches of 256, and a critic of 2,000 updates
    np.testing.assert_allclose(found["gradient"][-20:].mean(), slope, rtol=0.1)
    value = 2 * divergence(THETA) - np.log(4)
    np.testing.assert_allclose(found["value"][-20:].mean(), value, atol=0.05)
