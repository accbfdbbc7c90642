import numpy as np
import pytest

import keras_gradlayer as kgl

TOYS = {
    "eight_gaussians": (kgl.data.eight_gaussians, 500),
    "twenty_five_gaussians": (kgl.data.twenty_five_gaussians, 1000),
    "swiss_roll": (kgl.data.swiss_roll, 500),
}


def points(data):
    return np.concatenate(list(data.as_numpy_iterator()))


@pytest.mark.parametrize("name", TOYS)
def test_contract(name):
    load, n = TOYS[name]
    data = load()
    assert data.element_spec.shape == (50, 2)
    first, second = points(data), points(data)
    assert first.shape == (n, 2)
    assert first.dtype == np.float32
    assert np.abs(first).max() < 1  # inside the range of tanh
    # each epoch has another order of the same points
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, 0), np.sort(second, 0))
    # seeds
    np.testing.assert_array_equal(points(load(seed=3)), points(load(seed=3)))
    assert not np.array_equal(np.sort(first, 0), np.sort(points(load(seed=3)), 0))
    # the last, smaller batch is dropped
    assert points(load(n=130, batch_size=40)).shape == (120, 2)
    with pytest.raises(ValueError, match="Received: batch_size=51 for 50 points"):
        load(n=50, batch_size=51)
    for seed in (1.5, True, -1):
        with pytest.raises(ValueError, match="`seed` must be an integer of at least 0"):
            load(seed=seed)
    with pytest.raises(ValueError, match="`n` must be an integer of at least 1"):
        load(n=0)


@pytest.mark.parametrize(
    ("load", "mixture", "modes"),
    [
        (kgl.data.eight_gaussians, kgl.data.EIGHT_GAUSSIANS, 8),
        (kgl.data.twenty_five_gaussians, kgl.data.TWENTY_FIVE_GAUSSIANS, 25),
    ],
)
def test_mixtures(load, mixture, modes):
    n = 1000 * modes
    x = points(load(n=n, batch_size=n))
    found = kgl.metrics.mode_coverage(x, *mixture)
    assert found.modes == modes
    np.testing.assert_allclose(found.shares, 1 / modes, rtol=0.01)
    # a round Gaussian in the plane has exp(-4²/2) = 0.03% of its mass beyond 4 stddev
    assert found.within > 0.999
    nearest = np.linalg.norm(x[:, None] - mixture.centers[None], axis=-1).argmin(1)
    spread = (x - mixture.centers[nearest]).std()
    assert spread == pytest.approx(mixture.stddev, rel=0.02)


def test_swiss_roll_lies_on_its_spiral():
    x = 16 * points(kgl.data.swiss_roll(n=5000, batch_size=5000))
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 5000)
    spiral = t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    off = np.array([np.linalg.norm(spiral - p, axis=1).min() for p in x])
    # distance to a curve of Gaussian noise: its component across, of mean sqrt(2/π) stddev
    assert off.mean() == pytest.approx(0.25 * np.sqrt(2 / np.pi), rel=0.05)
    assert off.max() < 0.25 * 6
