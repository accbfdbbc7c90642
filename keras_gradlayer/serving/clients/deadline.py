"""HTTP requests that end by a time, however slowly a server sends its headers and its body."""

import contextlib
import socket
import threading
import time

import requests
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_waiting = threading.local()


class Deadline(contextlib.AbstractContextManager):
    """Hangs up on what this thread reads over an `adapter`, after so many seconds.

    A socket's own timeout begins anew with each byte.
    """

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._hang_up)
        self._timer.daemon = True

    def __enter__(self):
        self._timer.start()
        _waiting.deadline = self
        return self

    def __exit__(self, *error):
        self._timer.cancel()
        _waiting.deadline = None

    @property
    def left(self) -> float:
        """Seconds until then."""
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return not self.left

    def watch(self, connection: HTTPConnection) -> None:
        """Read from this connection from now on; a `TimeoutError` if it is too late for that."""
        self._socket = connection.sock
        if self.over:
            raise TimeoutError

    def _hang_up(self):
        with contextlib.suppress(OSError, AttributeError):  # closed, or not open yet
            self._socket.shutdown(socket.SHUT_RDWR)


class PunctualRetry(urllib3.Retry):
    """Asks again where the server is busy or breaks off, but not where it is slow or time is up."""

    def increment(self, method=None, url=None, response=None, error=None, *args, **kwargs):
        """One retry less; the error itself where there is to be none."""
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        if _waiting.deadline.over:
            raise TimeoutError from error
        return super().increment(method, url, response, error, *args, **kwargs)

    def get_backoff_time(self) -> float:
        """Seconds to wait, of those that are left."""
        return min(super().get_backoff_time(), _waiting.deadline.left)


class _Punctual:
    """A connection that minds the deadline of the thread that reads from it."""

    def getresponse(self):
        deadline = _waiting.deadline
        deadline.watch(self)
        try:
            answer = super().getresponse()
        except Exception as e:
            if deadline.over:
                raise TimeoutError from e
            raise
        if deadline.over:  # what was cut off looks like the end of the headers
            raise TimeoutError
        return answer


class _Http(urllib3.HTTPConnectionPool):
    ConnectionCls = type("_HttpConnection", (_Punctual, HTTPConnection), {})


class _Https(urllib3.HTTPSConnectionPool):
    ConnectionCls = type("_HttpsConnection", (_Punctual, HTTPSConnection), {})


def adapter(retries: urllib3.Retry) -> requests.adapters.HTTPAdapter:
    """Requests' adapter, of connections that mind a `Deadline`."""
    return _Adapter(max_retries=retries)


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, **kwargs)
        _use_ours(self.poolmanager)

    def proxy_manager_for(self, *args, **kwargs):
        return _use_ours(super().proxy_manager_for(*args, **kwargs))


def _use_ours(manager):
    if not type(manager).__module__.startswith("urllib3.contrib"):  # of SOCKS, with its own pools
        manager.pool_classes_by_scheme = {"http": _Http, "https": _Https}
    return manager
