"""Calling a served sampler over HTTP."""

import base64
import time

import numpy as np
import requests
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from keras_gradlayer.serving.clients.client import Client

_PAUSES = (0.1, 0.2, 0.4, 0.8)
_BUSY = (502, 503)
_REFUSED = (400, 404, 412, 422)
_CONNECTIONS = 256


class RestClient(Client):
    """A client of TensorFlow Serving's REST predict API, which is also KServe's V1 protocol.

    Numbers travel as decimals, and come back as float32 or int64.

    Args:
        url: "http://host:port", by default port 8501 on the server.
        **kwargs: as for `Client`.
    """

    def __init__(self, url: str, **kwargs):
        super().__init__(**kwargs)
        self._url = f"{url.rstrip('/')}/v1/models/{self.model}"
        if self.version is not None:
            self._url += f"/versions/{self.version}"
        elif self.label is not None:
            self._url += f"/labels/{self.label}"
        self._session = requests.Session()
        self._session.headers.update(self.headers)
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _send(self, signature, inputs):
        rows = {key: _rows(value) for key, value in inputs.items()}
        if len(rows) == 1:
            [instances] = rows.values()
        else:
            instances = [dict(zip(rows, values)) for values in zip(*rows.values(), strict=True)]
        body = {"signature_name": signature, "instances": instances}
        predictions = self._call("POST", ":predict", json=body).get("predictions")
        if not isinstance(predictions, list) or len(predictions) != len(instances):
            raise RuntimeError(f"The server answered something else than {len(instances)} rows.")
        if isinstance(predictions[0], dict) and "b64" not in predictions[0]:
            return {key: _column([row[key] for row in predictions]) for key in predictions[0]}
        known = self.signatures()
        [name] = known[signature].outputs if known else ["predictions"]
        return {name: _column(predictions)}

    def _fetch_signatures(self):
        try:
            answer = self._call("GET", "/metadata")
        except ValueError:
            if "ready" in self._call("GET", ""):
                return {}  # KServe, which does not publish them
            raise
        published = get_model_metadata_pb2.SignatureDefMap()
        json_format.ParseDict(
            answer["metadata"]["signature_def"], published, ignore_unknown_fields=True
        )
        return published.signature_def

    def _call(self, method, path, **kwargs):
        """Ask until there is an answer, which may be that the request is wrong."""
        end = time.monotonic() + self.timeout
        for pause in (*_PAUSES, None):
            try:
                left = max(end - time.monotonic(), 1e-3)
                answer = self._session.request(method, self._url + path, timeout=left, **kwargs)
            except requests.Timeout as e:
                raise TimeoutError(f"The server did not answer within {self.timeout} s.") from e
            except requests.RequestException as e:
                problem = ConnectionError(f"{self._url} could not be reached: {_cause(e)}")
            else:
                if answer.status_code not in _BUSY:
                    return _read(answer)
                problem = ConnectionError(f"The server answered {_reason(answer)}")
            if pause is None or time.monotonic() + pause > end:
                raise problem
            time.sleep(pause)


def _read(answer):
    """The content of an answer, or the error that it tells of."""
    if answer.status_code == requests.codes.gateway_timeout:
        raise TimeoutError(f"The server answered {_reason(answer)}")
    if not answer.ok:
        kind = ValueError if answer.status_code in _REFUSED else RuntimeError
        raise kind(f"The server answered {_reason(answer)}")
    try:
        return answer.json()
    except requests.JSONDecodeError as e:
        raise RuntimeError(f"The server did not answer with JSON: {answer.text[:200]}") from e


def _cause(error):
    """What is at the bottom of an error of requests."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner)).split(": ", 1)[-1]


def _reason(answer):
    try:
        return f"{answer.status_code}: {answer.json()['error']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}: {answer.text[:200]}"


def _rows(values):
    """One input as JSON has it."""
    if values.dtype.kind not in "OSU":
        return values.astype("float64").tolist() if values.dtype.kind == "V" else values.tolist()
    encoded = [v if isinstance(v, bytes) else str(v).encode() for v in values.ravel()]
    b64 = np.array([{"b64": base64.b64encode(v).decode()} for v in encoded], object)
    return b64.reshape(values.shape).tolist()


def _column(values):
    """One output for all rows."""
    if isinstance(values[0], dict):
        return np.array([base64.b64decode(v["b64"]) for v in values], object)
    values = np.asarray(values)
    return values.astype("float32") if values.dtype.kind == "f" else values
