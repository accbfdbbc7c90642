"""On JAX and PyTorch gradient layers give TensorFlow's values, and the rest says what it needs."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from keras_gradlayer import _backend
from tests import backend_run, oracles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where TensorFlow's values and file are."""
    path = tmp_path_factory.mktemp("backends")
    backend_run.main(path)
    return path


def test_the_file_gives_what_was_saved(folder):
    with np.load(folder / "tensorflow.npz") as values:
        np.testing.assert_allclose(values["loaded"], values["model"], rtol=1e-6)
        np.testing.assert_allclose(values["rest"], values["kl"], rtol=1e-6)
        np.testing.assert_array_equal(values["rows"][1], values["one"][1])
        assert np.abs(values["rows"][4] - values["one"][4]).max() > 0.01


@pytest.mark.ecosystem
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_values_are_those_of_tensorflow(folder, backend):
    pytest.importorskip(backend, reason='needs the extra "ecosystem"')
    run = subprocess.run(
        [sys.executable, "-m", "tests.backend_run", str(folder)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    with np.load(folder / f"{backend}.npz") as ours, np.load(folder / "tensorflow.npz") as theirs:
        assert {*ours} == {*theirs, "theirs"}
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(ours["theirs"], theirs["model"], atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda critic: kgl.GAN(oracles.point_generator(), critic),
        lambda critic: kgl.FineTuner(None, critic),
        lambda critic: kgl.refine(None, critic, 0.1, 1),
        lambda critic: kgl.rivals.ddls(None, critic, 0.1, steps=1),
        lambda critic: kgl.layers.GradientLayer(critic, 0.1, temperature=0.1),
    ],
)
def test_the_rest_needs_tensorflow(make, monkeypatch):
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    monkeypatch.setattr(_backend, "name", lambda: "jax")
    expected = r"needs Keras on the TensorFlow backend.* Received: the 'jax' backend\. Set"
    with pytest.raises(RuntimeError, match=expected):
        make(critic)
