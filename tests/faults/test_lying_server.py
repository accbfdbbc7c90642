"""Answers that a server gives and that no client believes: one error that says what is wrong."""

import contextlib
import gzip
import json
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

import keras_gradlayer as kgl
from keras_gradlayer.serving.clients.grpc_client import _array
from tests.serving.conftest import toy  # noqa: F401, a fixture
from tests.serving.server import Server


@pytest.fixture(scope="module")
def server(toy):  # noqa: F811
    with Server(toy[1]) as server:
        yield server


GOOD = [[0.1, 0.2]] * 3
ROWS = r"something else than 3 rows"
LIES = {  # the content of an answer to three seeds, whose samples have the shape (2,)
    "one row": ({"predictions": GOOD[:1]}, ROWS),
    "no rows": ({"predictions": []}, ROWS),
    "four rows": ({"predictions": [*GOOD, GOOD[0]]}, ROWS),
    "a number": ({"predictions": 3}, ROWS),
    "null": ({"predictions": None}, ROWS),
    "a dict of rows": ({"predictions": {"0": GOOD[0]}}, ROWS),
    "another key": ({"outputs": GOOD}, ROWS),
    "a list": (GOOD, ROWS),
    "a string": ("samples", ROWS),
    "nothing": (None, ROWS),
    "longer samples": ({"predictions": [[0.1, 0.2, 0.3]] * 3}, r"shape \(3, 3\)"),
    "shorter samples": ({"predictions": [[0.1]] * 3}, r"shape \(3, 1\)"),
    "scalars": ({"predictions": [0.1, 0.2, 0.3]}, r"shape \(3,\)"),
    "deeper samples": ({"predictions": [[[0.1, 0.2]]] * 3}, r"shape \(3, 1, 2\)"),
    "ragged samples": ({"predictions": [[0.1], [0.1, 0.2], []]}, "rows of samples"),
    "strings": ({"predictions": [["a", "b"]] * 3}, "answered <U1"),
    "null samples": ({"predictions": [None] * 3}, "answered object"),
    "null numbers": ({"predictions": [[None, 1.0]] * 3}, "answered object"),
    "yes and no": ({"predictions": [[{}, []]] * 3}, "answered object|rows of samples"),
    "NaN": ({"predictions": [[float("nan"), 0.2]] * 3}, "answered 3 NaN or infinite values"),
    "infinity": ({"predictions": [[float("inf"), 0.2], *GOOD[1:]]}, "answered 1 NaN or infinite"),
    "beyond float32": ({"predictions": [[1e300, 0.2], *GOOD[1:]]}, "answered 1 NaN or infinite"),
    "huge integers": ({"predictions": [[10**400, 1]] * 3}, "answered object|rows of samples"),
    "another output": ({"predictions": [{"images": [0.1, 0.2], "x": 1}] * 3}, "answered images, x"),
    "outputs that change": (
        {"predictions": [{"samples": [0.1, 0.2]}, {"x": 1}, {"y": 2}]},
        "rows of samples: 'samples'",
    ),
    "bytes": ({"predictions": [{"b64": "AAAA"}] * 3}, "answered object"),
    "broken bytes": ({"predictions": [{"b64": "A"}] * 3}, "rows of samples"),
    "bytes of a number": ({"predictions": [{"b64": 7}] * 3}, "rows of samples"),
    "an error with status 200": ({"error": "busy"}, ROWS),
}


def answering(own, content, status=200, headers=(), body=None, written=None, raw=None):
    """A handler of requests that gives this answer to every prediction."""

    class Liar(own):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if raw is not None:
                raw(self.wfile)
                return
            sent = json.dumps(content).encode() if body is None else body
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent) if written is None else 10**6))
            self.end_headers()
            if written is None:
                self.wfile.write(sent)
            else:
                written(self.wfile)

    return Liar


@pytest.fixture
def ask(server):
    """The error of a client that asks for three samples, of a server with this answer."""

    own = server.rest.RequestHandlerClass

    def asked(content, message, kind=RuntimeError, timeout=30.0, start=None, piece=b"", **how):
        if start is not None:
            how["raw"] = lambda file: (file.write(start), drip(file, piece))
        server.rest.RequestHandlerClass = answering(own, content, **how)
        refused = pytest.raises(kind, match=message)
        with kgl.serving.connect(server.urls()[1], timeout=timeout) as client, refused:
            client.sample([1, 2, 3])

    yield asked
    server.rest.RequestHandlerClass = own


@pytest.mark.parametrize("name", LIES)
def test_answers_over_rest(ask, name):
    content, message = LIES[name]
    ask(content, message)


def test_what_is_no_json(ask):
    ask(None, "did not answer with JSON: <html>", body=b"<html>")
    ask(None, "did not answer with JSON", body=b"\xff\xfe\x00")
    ask(None, "did not answer with JSON", body=b'{"predictions": [[')
    ask(None, "did not answer with JSON|something else", body=b"[" * 100_000)


def test_a_redirect_takes_no_headers_along(ask):
    headers = [("Location", "http://elsewhere.example/v1/models/sampler:predict")]
    for status in (301, 302, 307, 308):
        match = f"answered {status}: ask 'http://elsewhere.example.*Redirects are not followed"
        ask({}, match, status=status, headers=headers)


def drip(file, piece=b" "):
    """A piece of an answer every now and then, for longer than a client waits."""
    end = time.monotonic() + 20
    with contextlib.suppress(OSError):  # until the client hangs up
        while time.monotonic() < end:
            file.write(piece)
            file.flush()
            time.sleep(0.05)


DRIPS = {
    "the body": {"written": drip},
    "the headers": {"start": b"HTTP/1.1 200 OK\r\nX-Slow: ", "piece": b"x"},
    "many headers": {"start": b"HTTP/1.1 200 OK\r\n", "piece": b"X-More: 1\r\n"},
    "the status": {"start": b"", "piece": b"H"},
    "go on, and again": {"start": b"", "piece": b"HTTP/1.1 100 Continue\r\n\r\n"},
    "chunks": {
        "start": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "piece": b"1\r\n \r\n",
    },
}


@pytest.mark.parametrize("name", DRIPS)
def test_a_drip_ends_at_the_timeout(ask, name):
    start = time.monotonic()
    ask({}, "did not answer within 0.5 s", kind=TimeoutError, timeout=0.5, **DRIPS[name])
    assert time.monotonic() - start < 5  # a drip takes 20 s


def test_a_server_that_is_busy_slowly(ask):
    """All attempts together have the time of one."""

    def busy(file):
        time.sleep(0.3)
        file.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    start = time.monotonic()
    ask({}, "did not answer within 0.5 s", kind=TimeoutError, timeout=0.5, raw=busy)
    assert time.monotonic() - start < 1.4  # five attempts of 0.3 s take 1.5 s, and pauses


def test_pauses_end_at_the_timeout(ask):
    """A server that is busy at once: the pauses alone would take 1.4 s."""
    asked = []

    def busy(file):
        asked.append(time.monotonic())
        file.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    start = time.monotonic()
    ask({}, "did not answer within 0.5 s", kind=TimeoutError, timeout=0.5, raw=busy)
    assert time.monotonic() - start < 1.3
    assert max(asked) - start < 0.6  # none after it


def test_a_client_goes_on_after_a_drip(server):
    own = server.rest.RequestHandlerClass
    # before the client connects: a connection keeps its handler
    server.rest.RequestHandlerClass = answering(own, {}, written=drip)
    with kgl.serving.connect(server.urls()[1], timeout=0.5) as client:
        with pytest.raises(TimeoutError):
            client.sample([1])
        server.rest.RequestHandlerClass = own
        client.timeout = 30
        assert client.sample([1]).shape == (1, 2)


def test_more_than_a_client_takes(ask, monkeypatch):
    """Plain, or as a bomb: a hundredth of what it unpacks to."""
    monkeypatch.setattr("keras_gradlayer.serving.clients.rest_client.MOST_BYTES", 2**20)
    message = "answers more than 1048576 bytes. Expected a smaller `batch_size`"
    ask(None, message, body=b" " * 2**21)
    ask(None, message, body=gzip.compress(b" " * 2**28), headers=[("Content-Encoding", "gzip")])


def test_names_are_quoted(server):
    with kgl.serving.connect(server.urls()[1], model="../../secret?x=1#") as client:
        assert client._url.endswith("/v1/models/..%2F..%2Fsecret%3Fx%3D1%23")
    with kgl.serving.connect(server.urls()[1], label="a/b") as client:
        assert client._url.endswith("/labels/a%2Fb")


ARRAYS = {
    "one row": ({"samples": np.zeros((1, 2), "float32")}, r"shape \(1, 2\).*Expected 3 rows"),
    "four rows": ({"samples": np.zeros((4, 2), "float32")}, r"shape \(4, 2\)"),
    "a scalar": ({"samples": np.float32(1)}, r"shape \(\)"),
    "longer samples": ({"samples": np.zeros((3, 5), "float32")}, r"shape \(3, 5\)"),
    "deeper samples": ({"samples": np.zeros((3, 2, 1), "float32")}, r"shape \(3, 2, 1\)"),
    "strings": ({"samples": np.full((3, 2), b"x", object)}, "answered object"),
    "complex": ({"samples": np.zeros((3, 2), "complex64")}, "answered complex64"),
    "NaN": ({"samples": np.full((3, 2), np.nan, "float32")}, "answered 6 NaN or infinite"),
    "infinity": ({"samples": np.full((3, 2), np.inf, "float32")}, "answered 6 NaN or infinite"),
    "beyond float32": ({"samples": np.full((3, 2), 1e300)}, "answered 6 NaN or infinite"),
    "another output": ({"x": np.zeros((3, 2), "float32")}, "answered x. Expected the outputs"),
    "one too many": (
        {"samples": np.zeros((3, 2), "float32"), "x": np.zeros((3,), "float32")},
        "answered samples, x",
    ),
    "no output": ({}, "answered nothing"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_answers_over_grpc(server, monkeypatch, name):
    outputs, message = ARRAYS[name]
    [model] = server.models.values()
    monkeypatch.setattr(model, "predict", lambda name, inputs: outputs)
    refused = pytest.raises(RuntimeError, match=message)
    with kgl.serving.connect(server.urls()[0]) as client, refused:
        client.sample([1, 2, 3])


def test_tensors_that_claim_to_be_large():
    """A few bytes for 2^60 numbers, and others that are none."""
    large = tf.make_tensor_proto(np.float32(1), shape=[1])
    large.tensor_shape.dim[0].size = 2**60
    with pytest.raises(RuntimeError, match="cannot be read: 4611686018427387904 bytes"):
        _array(large)
    short = tf.make_tensor_proto(np.zeros((2, 2), "float32"))
    short.tensor_content = b"123"
    negative = tf.make_tensor_proto(np.float32(1), shape=[1])
    negative.tensor_shape.dim[0].size = -5
    for proto in (short, negative, tensor_pb2.TensorProto(dtype=999), tensor_pb2.TensorProto()):
        with pytest.raises(RuntimeError, match="a tensor that cannot be read"):
            _array(proto)
