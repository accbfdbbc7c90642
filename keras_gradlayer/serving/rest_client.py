"""Calling a served sampler over HTTP."""

import base64

import numpy as np
import requests
import urllib3
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from keras_gradlayer.serving.client import Client

_RETRY = urllib3.Retry(
    total=4,
    read=False,  # an answer that takes too long is not asked for again
    backoff_factor=0.1,
    status_forcelist=(502, 503, 504),
    allowed_methods=("GET", "POST"),
)
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
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=_RETRY)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _send(self, signature, inputs):
        rows = {key: value.tolist() for key, value in inputs.items()}
        if len(rows) == 1:
            [instances] = rows.values()
        else:
            instances = [dict(zip(rows, values)) for values in zip(*rows.values(), strict=True)]
        body = {"signature_name": signature, "instances": instances}
        predictions = self._call("POST", ":predict", json=body)["predictions"]
        if predictions and isinstance(predictions[0], dict) and "b64" not in predictions[0]:
            return {key: _column([row[key] for row in predictions]) for key in predictions[0]}
        known = self.signatures()
        [name] = known[signature].outputs if known else ["predictions"]
        return {name: _column(predictions)}

    def _fetch_signatures(self):
        try:
            answer = self._call("GET", "/metadata")
        except ValueError:
            return {}  # KServe does not publish them
        published = get_model_metadata_pb2.SignatureDefMap()
        json_format.ParseDict(
            answer["metadata"]["signature_def"], published, ignore_unknown_fields=True
        )
        return published.signature_def

    def _call(self, method, path, **kwargs):
        try:
            answer = self._session.request(method, self._url + path, timeout=self.timeout, **kwargs)
        except requests.Timeout as e:
            raise TimeoutError(f"The server did not answer within {self.timeout} s.") from e
        except requests.RequestException as e:
            raise ConnectionError(f"The server could not be reached: {e}") from e
        if answer.ok:
            return answer.json()
        kind = ValueError if answer.status_code in (400, 404, 412, 422) else RuntimeError
        raise kind(f"The server answered {answer.status_code}: {_reason(answer)}")


def _reason(answer):
    try:
        return answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def _column(values):
    """One output for all rows."""
    if isinstance(values[0], dict):
        return np.array([base64.b64decode(v["b64"]) for v in values], object)
    values = np.asarray(values)
    return values.astype("float32") if values.dtype.kind == "f" else values
