"""One run at a time in a folder."""

import contextlib
import os
import socket

import click

LOCK = ".lock"


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
