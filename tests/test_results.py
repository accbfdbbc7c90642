"""The main results, at full size."""

import numpy as np
import pytest

import keras_gradlayer as kgl
from keras_gradlayer import demo


def coverage(name, out, **kwargs):
    out.mkdir(exist_ok=True)
    demo.run(name, out, **kwargs)
    return kgl.metrics.mode_coverage(
        np.load(out / "samples" / "samples.npy"), *demo.TOYS[name].mixture
    )


def test_eight_gaussians_with_particles_and_exactly(tmp_path):
    """Figure 2: every mode is held and the samples lie on the modes, either way."""
    within = []
    for particles in ("auto", None):
        found = coverage("eight_gaussians", tmp_path / str(particles), particles=particles)
        assert found.modes == 8
        assert found.shares.min() >= 0.08
        assert found.shares.max() <= 0.17
        assert found.within >= 0.95
        within.append(found.within)
    assert abs(within[0] - within[1]) <= 0.02


@pytest.mark.slow
def test_twenty_five_gaussians(tmp_path):
    found = coverage("twenty_five_gaussians", tmp_path)
    assert found.modes == 25
    assert found.within >= 0.95
