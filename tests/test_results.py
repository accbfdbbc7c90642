"""The main results, at full size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.commands import demo


def coverage(name, out, **kwargs):
    out.mkdir(exist_ok=True)
    demo.run(name, out, **kwargs)
    return kgl.metrics.mode_coverage(
        np.load(out / "samples" / "samples.npy"), *demo.TOYS[name].mixture
    )


@pytest.fixture(scope="module")
def eight_gaussians(tmp_path_factory):
    """The run with particles: its folder and coverage."""
    out = tmp_path_factory.mktemp("eight_gaussians") / "particles"
    return out, coverage("eight_gaussians", out)


def assert_on_modes(found):
    assert found.modes == 8
    assert found.shares.min() >= 0.08
    assert found.shares.max() <= 0.17
    assert found.within >= 0.95


def test_eight_gaussians(eight_gaussians):
    """Figure 2: every mode is held and the samples lie on the modes."""
    assert_on_modes(eight_gaussians[1])


@pytest.mark.slow
def test_eight_gaussians_exactly(eight_gaussians, tmp_path):
    """All layers replayed for each batch give what particles do."""
    exact = coverage("eight_gaussians", tmp_path, particles=None)
    assert_on_modes(exact)
    assert abs(exact.within - eight_gaussians[1].within) <= 0.02


def test_a_trained_flow_of_100_layers_is_served_row_by_row(eight_gaussians, tmp_path):
    """A row alone and in a batch of 256 differ by no more than rounding, after 100 layers."""
    sampler = keras.saving.load_model(eight_gaussians[0] / "sampler.keras")
    folder = kgl.serving.export_sampler(sampler, tmp_path / "sampler")
    sample = tf.saved_model.load(str(folder)).signatures["sample"]
    together = sample(seed=tf.range(256, dtype="int64"))["samples"]
    for i in range(256):
        alone = sample(seed=tf.constant([i], "int64"))["samples"]
        np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.slow
def test_twenty_five_gaussians(tmp_path):
    found = coverage("twenty_five_gaussians", tmp_path)
    assert found.modes == 25
    assert found.within >= 0.95
