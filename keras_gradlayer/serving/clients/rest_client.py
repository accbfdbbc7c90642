"""Calling a served sampler over HTTP."""

import base64
import json
import threading
import weakref
from urllib.parse import quote

import numpy as np
import requests
from google.protobuf import json_format
from urllib3.exceptions import HTTPError, ReadTimeoutError

from keras_gradlayer.serving.clients.client import MOST_BYTES, Client
from keras_gradlayer.serving.clients.deadline import Deadline, PunctualRetry, adapter
from keras_gradlayer.serving.messages import SignatureDefMap

_RETRIES = 4
_BUSY = (502, 503)
_ERRORS = {
    **dict.fromkeys((400, 404, 412, 422), ValueError),
    **dict.fromkeys(_BUSY, ConnectionError),
    504: TimeoutError,
}


class RestClient(Client):
    """A client of TensorFlow Serving's REST predict API, which is also KServe's V1 protocol.

    Numbers travel as decimals, and come back as float32 or int64.

    Args:
        url: "http://host:port", by default port 8501 on the server.
        **kwargs: as for `Client`.
    """

    def __init__(self, url: str, **kwargs):
        super().__init__(**kwargs)
        self._url = f"{url.rstrip('/')}/v1/models/{quote(self.model, safe='')}"
        if self.version is not None:
            self._url += f"/versions/{self.version}"
        elif self.label is not None:
            self._url += f"/labels/{quote(self.label, safe='')}"
        self._own = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions:
            session.close()

    def _session(self):
        """The calling thread's own: a session is not safe to share."""
        if not hasattr(self._own, "session"):
            self._own.session = session = requests.Session()
            self._sessions.add(session)
            session.headers.update(self.headers)
            retry = PunctualRetry(
                total=_RETRIES,
                backoff_factor=0.1,
                status_forcelist=_BUSY,
                allowed_methods=None,  # all: a prediction changes nothing
                raise_on_status=False,
                respect_retry_after_header=False,
            )
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter(retry))
        return self._own.session

    def _send(self, signature, inputs):
        rows = {key: _rows(value) for key, value in inputs.items()}
        if len(rows) == 1:
            [instances] = rows.values()
        else:
            instances = [dict(zip(rows, values)) for values in zip(*rows.values(), strict=True)]
        body = {"signature_name": signature, "instances": instances}
        content = self._call("POST", ":predict", json=body)
        predictions = content.get("predictions") if isinstance(content, dict) else None
        if not isinstance(predictions, list) or len(predictions) != len(instances):
            raise RuntimeError(f"The server answered something else than {len(instances)} rows.")
        known = self.signatures()
        names = list(known[signature].outputs) if known else ["predictions"]
        try:
            if isinstance(predictions[0], dict) and "b64" not in predictions[0]:
                return {key: _column([row[key] for row in predictions]) for key in predictions[0]}
            [name] = names
            return {name: _column(predictions)}
        except (KeyError, OverflowError, TypeError, ValueError) as e:
            raise RuntimeError(
                f"The server answered something else than rows of {', '.join(names)}: {e}"
            ) from e

    def _fetch_signatures(self):
        try:
            answer = self._call("GET", "/metadata")
        except ValueError:
            if "ready" in self._call("GET", ""):
                return {}  # KServe, which does not publish them
            raise
        try:
            published, message = answer["metadata"]["signature_def"], SignatureDefMap()
            json_format.ParseDict(published, message, ignore_unknown_fields=True)
        except (KeyError, TypeError, json_format.Error) as e:
            raise RuntimeError(f"The server's signatures cannot be read: {e}") from e
        return message.signature_def

    def _call(self, method, path, **kwargs):
        """The content of the answer, or the error that it tells of."""
        timeout = self.timeout / (1 + _RETRIES), self.timeout  # to connect, to read
        settings = {"timeout": timeout, "allow_redirects": False, "stream": True, **kwargs}
        deadline = Deadline(self.timeout)
        try:
            with deadline, self._session().request(method, self._url + path, **settings) as answer:
                body = _read(answer)
            if deadline.over:
                raise TimeoutError
        except (requests.RequestException, HTTPError, TimeoutError) as e:
            slow = isinstance(e, (requests.Timeout, ReadTimeoutError, TimeoutError))
            if deadline.over or slow:
                raise TimeoutError(f"The server did not answer within {self.timeout} s.") from e
            inner = e.args[0] if e.args else e
            cause = str(getattr(inner, "reason", inner)).split(": ", 1)[-1]
            raise ConnectionError(f"{self._url} could not be reached: {cause}") from e
        if answer.is_redirect:  # where the headers do not belong
            raise RuntimeError(
                f"The server answered {answer.status_code}: ask {answer.headers['location']!r}. "
                "Redirects are not followed."
            )
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as e:
            content = body[:200].decode(errors="replace")
            if answer.ok:
                raise RuntimeError(f"The server did not answer with JSON: {content}") from e
        if answer.ok:
            return content
        reason = content.get("error", content) if isinstance(content, dict) else content
        kind = _ERRORS.get(answer.status_code, RuntimeError)
        raise kind(f"The server answered {answer.status_code}: {reason}")


def _read(answer):
    """The body of an answer, unpacked, of a bounded size."""
    body = bytearray()
    while part := answer.raw.read1(2**16, decode_content=True):
        body += part
        if len(body) > MOST_BYTES:
            raise RuntimeError(
                f"The server answers more than {MOST_BYTES} bytes. Expected a smaller `batch_size`."
            )
    return bytes(body)


def _rows(values):
    """One input as JSON has it."""
    if values.dtype.kind not in "OSU":
        return (values.astype("float64") if values.dtype.kind == "V" else values).tolist()

    def encoded(value):
        value = value if isinstance(value, bytes) else str(value).encode()
        return {"b64": base64.b64encode(value).decode()}

    return np.vectorize(encoded, otypes=[object])(values).tolist()


def _column(values):
    """One output for all rows."""
    if isinstance(values[0], dict):
        return np.array([base64.b64decode(v["b64"]) for v in values], object)
    values = np.asarray(values)
    with np.errstate(over="ignore"):  # an infinite value is an error later
        return values.astype("float32") if values.dtype.kind == "f" else values
