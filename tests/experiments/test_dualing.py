"""How the variants of the dual learn, early in the training."""

import keras
import numpy as np
import pytest

from keras_gradlayer.experiments import dualing


def runs(method, seeds=3):
    found = []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        found.append(dualing.train(method, iterations=800, every=100))
    return np.array(found)


@pytest.mark.slow
def test_the_linear_dual_is_steadier_than_its_gan():
    """The spread over seeds, of the same critic solved for and descended."""
    solved, descended = runs("linear"), runs("GAN, linear critic")
    spread = [np.ptp(found[:, 3:], axis=0).mean() for found in (solved, descended)]
    assert spread[0] < 0.6 * spread[1]


@pytest.mark.parametrize("method", ["linear", "cost", "score"])
def test_it_learns(method):
    [score] = runs(method, seeds=1)
    # noise through an untrained generator has 1% to 3% of its samples there
    assert score[-1] > 0.3


def test_figure(tmp_path, monkeypatch):
    scores = np.random.default_rng(0).random(30)
    monkeypatch.setattr(dualing, "train", lambda *_: scores)
    dualing.run(tmp_path / "dualing.png")
    assert (tmp_path / "dualing.png").read_bytes().startswith(b"\x89PNG")
