"""W, KL and JS of what has moved, in closed form where there is one."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from keras_gradlayer.experiments.distances import TOYS, divergences, learned


@pytest.mark.parametrize("theta", [-0.3, 0.1, 0.5])
def test_one_gaussian(theta):
    """KL = θ²/(2σ²); JS, of what differs along the first axis alone, by an integral there."""
    s = 0.1
    kl, js = divergences(kgl.data.GaussianMixture(np.zeros((1, 2)), s), theta)
    assert kl == pytest.approx(theta**2 / (2 * s**2), rel=1e-8)
    x = np.linspace(-3, 3, 60_001)
    p, q = (np.exp(-((x - m) ** 2) / (2 * s**2)) / (s * np.sqrt(2 * np.pi)) for m in (0, theta))
    m = (p + q) / 2

    def part(a):
        return np.where(a > 0, a * np.log(np.where(a > 0, a, 1) / np.where(m > 0, m, 1)), 0)

    assert js == pytest.approx(np.sum(part(p) + part(q)) / 2 * (x[1] - x[0]), rel=1e-6)


@pytest.mark.parametrize("mixture", TOYS.values(), ids=TOYS)
def test_the_divergences_saturate_where_w_keeps_its_slope(mixture):
    """Past six standard deviations JS is log 2, but for modes that come near to other modes."""
    for theta in (6 * mixture.stddev, 8 * mixture.stddev):
        _, js = divergences(mixture, theta)
        assert js == pytest.approx(np.log(2), rel=0.04)  # eight Gaussians: two pairs of them
    assert divergences(mixture, 0.0) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_a_grid_moved_onto_itself():
    """By 0.4, 20 of 25 modes of each lie on the other's: JS is log 2 of the rest, a fifth."""
    kl, js = divergences(kgl.data.TWENTY_FIVE_GAUSSIANS, 0.4)
    assert js == pytest.approx(np.log(2) / 5, rel=1e-6)
    assert kl > 10  # a mode of the one lies sixteen deviations off all of the other


@pytest.mark.slow
def test_critics_learn_both():
    """On the lines: W is |θ|, JS log 2, near or far."""
    keras.utils.set_random_seed(0)
    for theta in (0.25, 1.0):
        w, js = learned(theta, 600)
        assert w == pytest.approx(theta, abs=0.1)  # of a soft penalty, as in vanishing_gradients
        assert js == pytest.approx(np.log(2), abs=0.03)
