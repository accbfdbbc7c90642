"""Runs that are interrupted, resumed, or cannot save their result."""

import json
import pathlib

import keras
import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.commands import runs
from keras_gradlayer.commands.signals import Signals
from keras_gradlayer.trainers.loop_state import LoopState
from tests.commands.commandline import fails, run
from tests.models import test_conditions as conditional


@pytest.fixture(autouse=True)
def _blank_pictures(monkeypatch):
    """Plots take most of a short run's time, and are tested elsewhere."""
    png = tf.io.encode_png(np.zeros((1, 1, 3), "uint8")).numpy()
    save = lambda self, path, **_: pathlib.Path(path).write_bytes(png)  # noqa: E731
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)


@pytest.fixture
def finetune(tmp_path):
    """The beginning of a command that adds three layers to noise in the plane."""
    kgl.models.mlp_critic((2,), units=8).save(tmp_path / "m.keras")
    start = ["finetune", "--data", "eight_gaussians", "--critic", tmp_path / "m.keras"]
    return [*start, "--critic-steps", 3, "--batch-size", 50, "--layers", 3]


def interrupt(monkeypatch, at):
    """Interrupt a run at the end of that epoch, before its backup."""
    end = kgl.callbacks.FlowMonitor.on_epoch_end

    def interrupted(self, epoch, logs=None):
        if epoch == at:
            raise KeyboardInterrupt
        end(self, epoch, logs)

    monkeypatch.setattr(kgl.callbacks.FlowMonitor, "on_epoch_end", interrupted)


def test_resume(capsys, tmp_path, finetune, monkeypatch):
    """An interrupted run goes on from its last epoch and ends like one that was not."""
    assert run(capsys, *finetune, "--out", tmp_path / "straight")[0] == 0

    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:  # undo would bring XLA back
        interrupt(patch, at=2)
        assert run(capsys, *finetune, "--out", broken)[0] == 130
    assert "continue it with --resume" in fails(capsys, *finetune, "--out", broken)
    before = (broken / "before.png").stat()
    message = fails(capsys, *finetune, "--out", broken, "--resume", "--step-size", 0.7)
    assert "began with --step-size auto. Received: 0.7" in message
    assert (broken / "before.png").stat() == before
    # as versions before this one wrote it
    settings = json.loads((broken / "run.json").read_text())
    (broken / "run.json").write_text(json.dumps({k: str(v) for k, v in settings.items()}))
    assert run(capsys, *finetune, "--out", broken, "--resume")[0] == 0
    logs = [(tmp_path / n / "log.csv").read_text().splitlines() for n in ("straight", "broken")]
    assert len(logs[0]) == len(logs[1]) == 4
    assert logs[0] == logs[1]
    tuners = [keras.saving.load_model(tmp_path / n / "tuner.keras") for n in ("straight", "broken")]
    assert tuners[0].stack.depth == tuners[1].stack.depth > 0
    assert "there is no unfinished run" in fails(capsys, *finetune, "--out", broken, "--resume")


@pytest.mark.parametrize("at", [0, 2])
def test_resume_of_a_run_that_searched_its_place(capsys, tmp_path, monkeypatch, at):
    """Conditional, stopped before and after the first backup: it ends like one that was not."""
    generator, critic = conditional.parts()
    generator.save(tmp_path / "g.keras")
    critic.save(tmp_path / "c.keras")
    x, labels = conditional.data(100)
    np.savez(tmp_path / "data.npz", x=x, y=labels)
    start = ["finetune", "--data", tmp_path / "data.npz", "--layers", 3, "--batch-size", 10]
    start += ["--generator", tmp_path / "g.keras", "--critic", tmp_path / "c.keras"]
    start += ["--average-critic", 2]
    status, printed, _ = run(capsys, *start, "--out", tmp_path / "straight")
    assert status == 0
    assert "Layers go " in printed
    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:
        interrupt(patch, at=at)
        assert run(capsys, *start, "--out", broken)[0] == 130
    (broken / "run.json").write_text("{}")  # goes on with what is given
    status, printed, _ = run(capsys, *start, "--out", broken, "--resume")
    assert status == 0
    assert ("Layers go " in printed) == (at == 0)
    ours, theirs = (
        keras.saving.load_model(tmp_path / name / "tuner.keras") for name in ("straight", "broken")
    )
    assert (ours.insert, ours.objective.name) == (theirs.insert, theirs.objective.name)
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_interrupted_before_the_first_epoch_ended(capsys, tmp_path, finetune, monkeypatch):
    finetune += ["--layers", 1, "--out", tmp_path / "early"]
    with monkeypatch.context() as patch:
        interrupt(patch, at=0)
        status, _, err = run(capsys, *finetune)
    assert status == 130
    assert "continue with --resume" in err
    assert run(capsys, *finetune, "--resume")[0] == 0
    assert keras.saving.load_model(tmp_path / "early" / "tuner.keras").stack.depth == 1


@pytest.mark.parametrize("command", ["train", "finetune"])
def test_a_result_that_could_not_be_saved(capsys, models, finetune, monkeypatch, command):
    """The disk was full: the run is not lost with it."""
    kind, name = (kgl.GAN, "gan") if command == "train" else (kgl.FineTuner, "tuner")
    arguments = [*finetune, "--layers", 1]
    if command == "train":
        arguments = ["train", "--data", models / "images", "--batch-size", 4]
        arguments += ["--iterations", 2, "--image-size", 8, "--width", 2]
    arguments += ["--out", models / "full"]

    def full(self, path):
        path.write_text("a part")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "save", full)
        assert "No space left" in fails(capsys, *arguments)
    assert run(capsys, *arguments, "--resume")[0] == 0
    assert isinstance(keras.saving.load_model(models / "full" / f"{name}.keras"), kind)
    assert not list((models / "full").glob("unfinished*"))


def test_nothing_in_a_run_watches_batches(tmp_path):
    """Each callback of a run works by epoch: `fit` may compile many updates into one program."""
    seen = []

    class Model:
        loop = LoopState()

        def fit(self, *args, callbacks, **kwargs):
            seen.extend(callbacks)

    runs.Run(tmp_path, "1", Signals()).fit(Model(), None, 1, [], steps_per_epoch=1)
    default = keras.callbacks.Callback
    assert len(seen) == 4
    for callback in seen:
        for hook in ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin"):
            assert getattr(callback, hook).__func__ is getattr(default, hook)
