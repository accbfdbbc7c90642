import pathlib

import keras
import numpy as np
import PIL.Image
import pytest

from keras_gradlayer import experiments
from keras_gradlayer.commands import demo
from keras_gradlayer.experiments import streamlines
from tests.commands.commandline import fails, run


def test_demo(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo-eight_gaussians-1").mkdir(parents=True)
    status, printed, _ = run(capsys, "demo", "--layers", 3)
    assert status == 0
    out = tmp_path / "runs" / "demo-eight_gaussians-2"  # a new folder is found
    assert "10,000 fresh samples" in printed
    assert "8, each holds" in printed
    assert (out / "flow.png").read_bytes().startswith(b"\x89PNG")
    with PIL.Image.open(out / "flow.gif") as animation:
        assert animation.n_frames == 4  # 0 to 3 layers
    samples = np.load(out / "samples" / "samples.npy")
    sampler = keras.saving.load_model(out / "sampler.keras")
    assert sampler.stack.depth == 3
    assert samples.shape == (10_000, 2)
    # what the other process drew is what this one draws for the same seeds
    expected = sampler.predict(sampler.latent.sample_rows(range(500)), verbose=0)
    # but for those within rounding of a kink of a critic: they take its other side
    off = np.abs(samples[:500] - expected).max(axis=1)
    assert np.sum(off > 1e-5) < 3
    assert off.max() < 0.01
    message = fails(capsys, "demo", "--out", out)
    assert "not an empty folder; nothing was written" in message
    (tmp_path / "file").write_text("mine")
    assert "nothing was written" in fails(capsys, "demo", "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    for option, message in (
        (["--out", "gs://bucket/run"], "Expected a folder on this machine"),
        (["--data", "moons"], "'moons' is not one of"),
        (["--particles", "some"], '--particles must be "auto", "none" or a number'),
    ):
        assert message in fails(capsys, "demo", *option)


@pytest.mark.slow
def test_demo_of_a_roll(capsys, tmp_path):
    out = tmp_path / "run"
    arguments = ["--data", "swiss_roll", "--layers", 1, "--out", out]
    status, printed, _ = run(capsys, "demo", *arguments)
    assert status == 0
    assert "distance to the roll" in printed
    assert (out / "flow.png").exists()


def test_experiment(capsys, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(streamlines, "run", drawn.append)
    out = tmp_path / "run"
    status, printed, _ = run(capsys, "demo", "--experiment", "streamlines", "--out", out)
    assert status == 0
    assert drawn == [out / "streamlines.png"]
    assert str(out / "streamlines.png") in printed
    for option in (["--layers", 5], ["--data", "swiss_roll"], ["--particles", "none"]):
        message = fails(
            capsys, "demo", "--experiment", "streamlines", *option, "--out", tmp_path / "bad"
        )
        assert f"{option[0]} is not for --experiment" in message
    assert not (tmp_path / "bad").exists()


def test_every_experiment_can_be_chosen():
    files = pathlib.Path(experiments.__file__).parent.glob("[a-z]*.py")
    assert set(demo.EXPERIMENTS) == {path.stem for path in files}
