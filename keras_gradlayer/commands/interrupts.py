"""What ends a run from outside: other processes are kept out, and signals end it in order."""

import contextlib
import os
import signal
import socket
import threading

import click

LOCK = ".lock"


class Interrupted(KeyboardInterrupt):
    """A run was told to stop, and says how far it is saved."""

    def __init__(self, signum, message):
        super().__init__(message)
        self.status = 128 + signum


@contextlib.contextmanager
def hold(folder):
    """Keep other runs out of a folder. The lock goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / LOCK, "a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            f.seek(0)
            raise click.UsageError(
                f"{folder} is in use by {f.read().strip() or 'another process'}. "
                "Expected that to end first."
            ) from e
        f.truncate(0)
        f.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        f.flush()
        yield


class Signals:
    """Has Ctrl-C and SIGTERM end a run after the present update; a second one ends it at once.

    Attributes:
        model: the model that is training, `None` where there is no update to wait for.
        received: the signal, `None` before it comes.
    """

    def __init__(self):
        self.model = self.received = None

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, *error):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _receive(self, signum, frame):
        if self.model is None or self.received:
            raise Interrupted(signum, "interrupted")
        self.received, self.model.stop_training = signum, True
        text = "keras-gradlayer: stopping after this update; once more to stop at once"
        with contextlib.suppress(OSError):  # no print, which this may have interrupted
            os.write(2, f"\n{text}\n".encode())
