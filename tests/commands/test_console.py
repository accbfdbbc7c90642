"""Help, errors and exit statuses."""

import logging

import click
import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from keras_gradlayer import commands
from keras_gradlayer.commands import cli, console, demo, runs
from tests.commands.commandline import fails, run


def test_help(capsys):
    for command in ([], *([name] for name in cli.commands)):
        status, out, _ = run(capsys, *command, "--help")
        assert status == 0
        assert "Usage" in out
    assert run(capsys, "--version")[1].strip().endswith(kgl.__version__)
    status, out, _ = run(capsys)
    assert status == 2
    assert all(name in out for name in cli.commands)


def test_options_stand_in_their_groups(capsys):
    """Each option once, under the heading of its group."""
    for name in ("train", "finetune"):
        command = cli.commands[name]
        _, out, _ = run(capsys, name, "--help")
        headings = [group.capitalize() + ":" for group in command.groups]
        assert [line for line in out.splitlines() if line in headings] == headings
        for option in command.params:
            assert out.count(f"  {option.opts[0]} ") == 1


def test_interrupt(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    status, _, err = run(capsys, "demo", "--out", tmp_path)
    assert status == 130
    assert "keras-gradlayer: interrupted" in err


@pytest.mark.parametrize(
    "fault",
    [
        lambda *_: None + 1,
        lambda *_: {}["a"],
        lambda *_: int("a"),
        lambda *_: np.zeros((2, 3)) @ np.zeros(2),
        lambda *_: keras.ops.reshape(keras.ops.ones(3), (2,)),
        lambda *_: (_ for _ in ()).throw(RuntimeError("internal")),
    ],
)
def test_errors_that_nobody_foresaw_keep_their_traceback(monkeypatch, tmp_path, fault):
    monkeypatch.setattr(demo, "run", fault)
    with pytest.raises(Exception) as expected:
        fault()
    with pytest.raises(type(expected.value)) as raised:
        commands.main(["demo", "--out", str(tmp_path)])
    assert str(raised.value) == str(expected.value)


def test_errors_of_our_checks_are_one_line(capsys, monkeypatch, tmp_path):
    """Whichever kind of error a check raises, and however deep."""
    for check, message in (
        (lambda *_: kgl.latents.Gaussian((2,), stddev=-1.0), "`stddev` must be"),
        (lambda *_: kgl.FineTuner(None, "critic", 0.1), "`critic` must be a Keras model"),
    ):
        monkeypatch.setattr(demo, "run", check)
        assert message in fails(capsys, "demo", "--out", tmp_path)


def test_missing_packages(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = fails(capsys, "demo", "--out", tmp_path / "out")
    assert "needs the package matplotlib: pip install 'keras-gradlayer[plots]'" in message
    assert not (tmp_path / "out").exists()


def test_failures_of_our_own_are_one_line_at_status_1(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "run", lambda *_: runs._First(None).on_epoch_end(3, {"loss": np.nan}))
    status, _, err = run(capsys, "demo", "--out", tmp_path)
    assert status == 1
    assert err.strip() == "keras-gradlayer: failed: NaN or infinite loss in epoch 4."


def test_what_the_package_logs_is_shown_once(capsys):
    log = logging.getLogger("keras_gradlayer.trainers._parts")

    @click.command()
    def command():
        log.info("The critic's final sigmoid is taken off.")
        log.info("The critic's final sigmoid is taken off.")
        log.debug("Not for users.")

    with pytest.raises(SystemExit):
        console.run(command, [])
    assert capsys.readouterr().err == "The critic's final sigmoid is taken off.\n"
    assert logging.getLogger("keras_gradlayer").handlers == []
