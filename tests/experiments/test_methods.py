"""What each way to hold a critic Lipschitz does to it, on eight Gaussians."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from keras_gradlayer.experiments import methods
from tests import oracles

pytestmark = pytest.mark.slow  # a minute of training


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
    assert slopes.max() < 0.01


def test_the_penalties_hold_the_slope_near_one(found):
    # at λ = 0.1 the pull of the distance, of slope 1, allows the norm about this much more
    for method in ("WGAN-GP", "one-sided"):
        assert found[method][1].mean() == pytest.approx(1.0, abs=0.5)


def test_the_one_sided_penalty_only_from_above(found):
    low = [np.quantile(found[method][1], 0.05) for method in ("one-sided", "WGAN-GP")]
    assert low[0] < 0.7 < low[1]


def test_dragan_holds_it_around_the_data(found):
    gan, _ = found["DRAGAN"]
    real = next(iter(methods.TOYS["eight_gaussians"](n=256, batch_size=256)))
    noise = 0.1 * np.random.default_rng(0).normal(size=real.shape).astype("float32")
    slope = methods.sample_norm(methods.input_gradient(gan.scores, real + noise)).numpy()
    assert 0.2 < slope.mean() < 1.2


def test_with_a_slope_the_generator_learns_what_the_flat_critic_does_not_teach(found):
    within = {
        method: kgl.metrics.mode_coverage(
            gan(gan.latent.sample(2000, seed=1)), *kgl.data.EIGHT_GAUSSIANS
        ).within
        for method, (gan, _) in found.items()
    }
    assert within["WGAN, clipped"] < 0.1
    assert min(within["WGAN-GP"], within["one-sided"]) > 0.5


def test_figure(tmp_path, monkeypatch, found):
    monkeypatch.setattr(methods, "train", lambda method, *_, **__: found[method][0])
    methods.run(tmp_path / "methods.png")
    assert (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")
