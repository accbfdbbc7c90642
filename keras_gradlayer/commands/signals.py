"""Ctrl-C and SIGTERM end a run in order."""

import contextlib
import os
import signal
import threading

from keras_gradlayer.commands.console import Interrupted


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
