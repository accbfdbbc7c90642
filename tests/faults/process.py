"""Commands in processes of their own, which can be killed; TensorFlow is imported once for all."""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import sys
import time

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["keras_gradlayer.commands", "tests.faults.process"])

POINTS = {
    "model": ("keras", "Model.save"),
    "sync": ("keras_gradlayer.commands.backups", "sync"),
    "rename": ("pathlib", "Path.rename"),
    "replace": ("pathlib", "Path.replace"),
    "remove": ("shutil", "rmtree"),
    "copy": ("shutil", "copyfile"),
    "row": ("keras_gradlayer.commands.runs", "_Log.on_epoch_end"),
    "picture": ("keras_gradlayer.pictures", "sample_picture"),
}
"""Functions to be killed before or after: where they are."""


class Command:
    """A command that runs in a process of its own.

    Args:
        args: the command's.
        output: file for what it prints.
        at: a name of `POINTS`, the number of the call, and whether it has returned, to be killed
            there.
        limit: the most bytes a file may have.
        user: whom to run as.
    """

    def __init__(self, args, output, at=None, limit=None, user=None):
        self.output = pathlib.Path(output)
        args = [str(a) for a in args]
        self.process = _forks.Process(target=_run, args=(args, str(output), at, limit, user))
        self.process.start()

    def kill(self, delay, signum=signal.SIGKILL):
        """Send a signal after so many seconds, if the command is still running."""
        self.process.join(delay)
        with contextlib.suppress(ProcessLookupError):
            if self.process.exitcode is None:
                os.kill(self.process.pid, signum)
        return self.wait()

    def wait(self):
        """The exit status, negative for a signal."""
        self.process.join(300)
        assert self.process.exitcode is not None
        return self.process.exitcode

    def until(self, path):
        """Wait until a file is there."""
        end = time.monotonic() + 120
        while not pathlib.Path(path).exists() and self.process.is_alive():
            assert time.monotonic() < end
            time.sleep(0.02)

    @property
    def lines(self):
        """What the command said, without what TensorFlow did."""
        text = self.output.read_text().replace("\r", "\n")
        return [line for line in text.splitlines() if "keras-gradlayer:" in line]


def _run(args, output, at, limit, user):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(handle, number)
    from keras_gradlayer import _xla, commands

    _xla.pays = lambda *models: False  # compiling takes a while
    if at is not None:
        _kill_at(*at)
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if user is not None:
        os.setgid(user)
        os.setuid(user)
    sys.argv = ["keras-gradlayer", *args]
    commands.main()


def _kill_at(point, number, after):
    module, name = POINTS[point]
    owner = sys.modules[module]
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*args, **kwargs)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, killed)
