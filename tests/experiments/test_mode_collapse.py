"""The claim of Nagarajan & Kolter on eight narrow Gaussians, early in the training."""

import keras
import numpy as np
import pytest

from keras_gradlayer.experiments import mode_collapse

pytestmark = pytest.mark.slow  # a minute of training


@pytest.fixture(scope="module")
def shares():
    """By method: the share of samples nearest to each mode, each 500 of 2,000 iterations."""
    found = {}
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(mode_collapse, "_BATCH", 128)  # a quarter, to be quick
    for method in ("plain", "regularised"):
        keras.utils.set_random_seed(0)
        samples = mode_collapse.train(method, iterations=2000, every=500)
        found[method] = [mode_collapse.coverage(s).shares for s in samples]
    monkeypatch.undo()
    return found


def test_the_plain_gan_falls_from_mode_to_mode(shares):
    last = shares["plain"][2:]
    assert all(s.min() < 0.01 for s in last)
    assert len({s.argmax() for s in last}) > 1


def test_the_regularised_gan_holds_all_of_them(shares):
    assert all(s.min() > 0.05 for s in shares["regularised"][3:])


def test_figure(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).normal(size=(11, 50, 2))
    monkeypatch.setattr(mode_collapse, "train", lambda *_: list(samples))
    mode_collapse.run(tmp_path / "collapse.png")
    assert (tmp_path / "collapse.png").read_bytes().startswith(b"\x89PNG")
