"""Runs commands in this process."""

import pytest

from keras_gradlayer import commands


def run(capsys, *args):
    """The command's exit status, output and error output."""
    with pytest.raises(SystemExit) as stop:
        commands.main([str(a) for a in args])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def fails(capsys, *args):
    """The one line that a command ends with, at status 2."""
    status, out, err = run(capsys, *args)
    assert status == 2
    # a progress bar that an interrupt left behind may stand before it
    lines = [line for line in err.splitlines() if "keras-gradlayer: " in line]
    assert len(lines) == 1, err
    return lines[0].split("keras-gradlayer: ")[1]
