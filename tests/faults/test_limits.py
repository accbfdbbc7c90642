"""A full disk, a folder that cannot be written to or is gone, and two runs in one folder."""

import os
import shutil
import signal

import pytest

from tests.faults.conftest import assert_same, ending
from tests.faults.process import Command

NOBODY = 65534


def in_one_line(process, *said):
    """A command ended with status 2 and one line that says this."""
    assert process.wait() == 2, process.output.read_text()
    [line] = process.lines
    assert any(text in line for text in said), line


@pytest.mark.parametrize(
    "limit", [30_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (9_000, 70_000, 90_000))]
)
def test_a_full_disk(commands, straight, tmp_path, limit):
    """A file that may not grow beyond a limit; with room again the run ends as it would have."""
    out = tmp_path / "out"
    args = [*commands["points"], "--out", out]
    process = Command(args, tmp_path / "full", limit=limit)
    in_one_line(process, "File too large", "could not be written", "errno 27")
    again = [*args, "--resume"] if (out / "run.json").exists() else args
    process = Command(again, tmp_path / "again")
    assert process.wait() == 0, process.output.read_text()
    assert_same(ending(out), straight("points")[0])


def test_a_folder_that_vanishes(commands, tmp_path):
    out = tmp_path / "out"
    process = Command([*commands["points"], "--layers", 40, "--out", out], tmp_path / "output")
    process.until(out / "backup" / "epoch-00001-update-000000")
    out.rename(tmp_path / "elsewhere")
    in_one_line(process, "No such file or directory")
    assert list((tmp_path / "elsewhere" / "backup").glob("epoch-*"))


def test_a_folder_that_cannot_be_written_to(commands, inputs, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    out, user = closed / "out", None
    if os.getuid() == 0:  # who may write anywhere
        user = NOBODY
        for folder in (tmp_path, *tmp_path.parents[:2], inputs, *inputs.parents[:2]):
            folder.chmod(0o755)
    process = Command([*commands["points"], "--out", out], tmp_path / "new", user=user)
    in_one_line(process, "Permission denied")
    assert not out.exists()


def test_two_runs_in_a_folder(commands, straight, tmp_path):
    """The second is refused, a new one or resumed; when the first was killed the lock is free."""
    out = tmp_path / "out"
    args = [*commands["points"], "--out", out]
    first = Command(args, tmp_path / "first")
    first.until(out / "run.json")
    os.kill(first.process.pid, signal.SIGSTOP)
    second = Command([*args, "--resume"], tmp_path / "second")
    in_one_line(second, f"is in use by process {first.process.pid} on ")
    in_one_line(Command(args, tmp_path / "third"), "continue it with --resume")
    assert first.kill(0) == -signal.SIGKILL
    fourth = Command([*args, "--resume"], tmp_path / "fourth")
    assert fourth.wait() == 0, fourth.output.read_text()
    assert_same(ending(out), straight("points")[0])
    shutil.rmtree(out)
