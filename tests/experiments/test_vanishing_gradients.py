"""The claims of Arjovsky & Bottou on two parallel lines."""

import keras
import numpy as np
import pytest

from keras_gradlayer.experiments.vanishing_gradients import (
    THETA,
    noisy_gradients,
    tail_index,
    train_critic,
)


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


@pytest.mark.parametrize("batch", [1, 16])
def test_errors_make_the_gradient_a_cauchy_variable(batch):
    """Theorem 2.6: median 0, quartiles at ± σr/σε and tail index 1, whatever the batch."""
    keras.utils.set_random_seed(0)
    x = noisy_gradients("non_saturating", 100_000, batch, errors=(0.1, 0.5))
    # Three standard errors: Hill's is α/√1000 = 0.03; a quantile's is √(p(1-p)/n) over the density,
    # 0.0014 × 2π × 5 at the quartiles and half of 0.0016 × 2π × 5 at the median.
    assert tail_index(x) == pytest.approx(1.0, abs=0.1)
    found = np.quantile(x, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(found, [-5.0, 0.0, 5.0], atol=0.13)


def test_errors_leave_the_other_gradient_moderate():
    """log(1 − D) divides by 1 − ε, not by ε: all moments that one meets, and a mean of a batch."""
    keras.utils.set_random_seed(0)
    one, many = (noisy_gradients("minimax", 100_000, n, errors=(0.1, 0.5)) for n in (1, 16))
    assert tail_index(one) > 5
    assert many.std() == pytest.approx(one.std() / 4, rel=0.02)


def test_tail_index_of_a_known_law():
    x = np.random.default_rng(0).pareto(3.0, 100_000) + 1
    assert tail_index(x) == pytest.approx(3.0, abs=0.3)  # three standard errors
