"""What each way to hold a critic Lipschitz does to it, on eight Gaussians."""

import keras
import numpy as np
import pytest

from keras_gradlayer.experiments import methods
from tests import oracles


@pytest.fixture(scope="module")
def found():
    """By method: the GAN after 600 iterations, and the slopes of its critic."""
    gans = {}
    for method in methods.METHODS:
        keras.utils.set_random_seed(0)
        gan = methods.train(method, "eight_gaussians", iterations=600)
        gans[method] = gan, methods.slopes(gan, "eight_gaussians")
    return gans


def test_clipping_drives_the_weights_to_the_clip_and_the_critic_flat(found):
    gan, slopes = found["WGAN, clipped"]
    weights = np.concatenate([np.ravel(w) for w in oracles.weights_of(gan.critic)])
    assert np.abs(weights).max() <= np.float32(0.01)
    assert np.mean(np.abs(weights) > 0.0099) > 0.5
    assert slopes.max() < 0.05


def test_the_penalty_holds_the_slope_near_one(found):
    _, slopes = found["WGAN-GP"]
    assert slopes.mean() == pytest.approx(1.0, abs=0.2)


def test_the_one_sided_penalty_only_from_above(found):
    _, slopes = found["one-sided"]
    # the penalty is soft: a slope of 1.2 costs 10 · 0.04
    assert np.quantile(slopes, 0.95) < 1.25
    assert slopes.min() < 0.7
    assert slopes.mean() > 0.1


def test_dragan_holds_it_around_the_data(found):
    gan, slopes = found["DRAGAN"]
    assert np.isfinite(slopes).all()
    real = next(iter(methods.TOYS["eight_gaussians"](n=256, batch_size=256)))
    noise = 0.1 * np.random.default_rng(0).normal(size=real.shape).astype("float32")
    near = methods.sample_norm(methods.input_gradient(gan.scores, real + noise)).numpy()
    clipped = methods.sample_norm(
        methods.input_gradient(found["WGAN, clipped"][0].scores, real + noise)
    ).numpy()
    assert near.mean() > 5 * clipped.mean()


def test_figure(tmp_path, monkeypatch):
    train = methods.train
    monkeypatch.setattr(methods, "train", lambda *a, **_: train(*a, iterations=1))
    methods.run(tmp_path / "methods.png")
    assert (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")
