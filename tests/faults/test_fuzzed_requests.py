"""Whatever a served sampler is asked, it gives the rows that it was asked for, or an error.

`pytest -s -m slow tests/faults/test_fuzzed_requests.py` asks 10,000 times, and prints the table.
"""

import base64
import collections
import json
import random
import subprocess

import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_gradlayer.serving.versions import find_version
from tests.faults.fuzzing import REFUSED, Served, draw, same
from tests.serving.conftest import classes, images, toy  # noqa: F401, fixtures
from tests.serving.server import Server
from tests.serving.test_cpp import program  # noqa: F401, a fixture


@pytest.fixture
def served(request):
    """Of models by these names, the folders and the signatures."""

    def load(*names):
        folders = {name: request.getfixturevalue(name)[1] for name in names}
        return {name: (folder, Served(folder)) for name, folder in folders.items()}

    return load


class Table:
    """How many requests of each kind were answered, and what the others were told."""

    def __init__(self, route):
        self.route, self.counts = route, collections.Counter()

    def judge(self, served, case, answer, error, exact=True):
        """Fail if an answer is not the right one, or a right request gets none."""
        kind, signature, inputs = case
        shown = f"{self.route}: {kind}, {signature}, {inputs}"
        rows = served.right(signature, inputs)
        if error is None:
            assert rows is not None, f"{shown} has no right answer, and was given {answer}"
            assert same(answer, rows), f"{shown}: {answer}, and not {rows}"
        else:
            right = exact and rows is not None and served.exact(signature, inputs)
            assert not right, f"{shown} is right, and was refused: {error}"
        if rows is not None and kind not in ("dtype", "wild numbers"):
            kind = "plain"  # the change made no difference
        self.counts[kind, "answered" if error is None else error] += 1

    def show(self):
        for (kind, outcome), count in sorted(self.counts.items()):
            print(f"{self.route:8} {kind:20} {outcome:24} {count:6}")


def through_python(served, count, seed):
    rng, table = np.random.default_rng(seed), Table("python")
    for _ in range(count):
        one = served[rng.choice(list(served))][1]
        kind, signature, inputs = draw(rng, one)
        given = rng.choice(["tensor", "tensor", "tensor", "array", "list"])
        if any(v.dtype.kind not in "iuf" for v in inputs.values()):
            given = "tensor"  # NumPy reads lists of strings and of truth values as numbers
        make = {"tensor": tf.constant, "array": np.asarray, "list": np.ndarray.tolist}[given]
        answer = error = None
        try:
            function = one.signatures[signature]
        except KeyError:
            table.counts[kind, "no such signature"] += 1
            continue
        try:
            [answer] = function(**{k: make(v) for k, v in inputs.items()}).values()
            answer = answer.numpy()
        except REFUSED as e:
            error = type(e).__name__
        table.judge(one, (kind, signature, inputs), answer, error, exact=given == "tensor")
    return table


def as_json(rng, kind, signature, inputs):
    """A body for REST, sometimes one that no request looks like; whether it does."""
    columns = {k: v.tolist() for k, v in inputs.items()}
    columns = {k: str(v) if isinstance(v, complex) else v for k, v in columns.items()}
    lengths = {len(v) if isinstance(v, list) else None for v in columns.values()}
    body = {"signature_name": signature, "inputs": columns}
    if len(lengths) == 1 and None not in lengths and rng.random() < 0.6:
        rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
        body = {"signature_name": signature, "instances": rows}
        if len(columns) == 1 and kind not in ("missing", "renamed") and rng.random() < 0.5:
            body["instances"] = next(iter(columns.values()))
    if kind != "json":
        return json.dumps(body, default=str).encode()
    value = body.get("instances", columns)
    strange = [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b'{"instances": []}',
        b'{"instances": {}}',
        b'{"instances": null}',
        b'{"inputs": "a"}',
        json.dumps({"signature_name": signature}).encode(),
        json.dumps({"signature_name": [], "inputs": columns}, default=str).encode(),
        json.dumps({"signature_name": signature, "instances": [value, 7]}, default=str).encode(),
        json.dumps({"signature_name": signature, "instances": [None]}).encode(),
        json.dumps({"signature_name": signature, "instances": [[[]]]}).encode(),
        json.dumps({"signature_name": signature, "instances": ["1", "2"]}).encode(),
        json.dumps({"signature_name": signature, "instances": [True]}).encode(),
        json.dumps({"signature_name": signature, "instances": [1.5]}).encode(),
        json.dumps({"signature_name": signature, "instances": [10**30]}).encode(),
        json.dumps({"signature_name": signature, "inputs": {}}).encode(),
        b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ]
    return strange[rng.integers(len(strange))]


def through_rest(served, count, seed):
    rng, table = np.random.default_rng(seed), Table("rest")
    servers = {name: Server(folder) for name, (folder, _) in served.items()}
    try:
        with requests.Session() as session:
            for _ in range(count):
                name = rng.choice(list(served))
                one = served[name][1]
                kind, signature, inputs = draw(rng, one)
                kind = "json" if rng.random() < 0.1 else kind
                url = f"{servers[name].urls()[1]}/v1/models/sampler:predict"
                body = as_json(rng, kind, signature, inputs)
                answer = session.post(url, data=body, timeout=60)
                assert answer.status_code in (200, 400, 404), answer.text
                content, error = json.loads(answer.content), None
                if answer.status_code == 200:
                    content = content.get("predictions", content.get("outputs"))
                    if one.specs.get(signature) and signature == "image":
                        content = [base64.b64decode(c["b64"]) for c in content]
                else:
                    assert content["error"]
                    error = str(answer.status_code)
                case = (kind, signature if kind != "json" else "", inputs)
                table.judge(one, case, content, error)
    finally:
        for server in servers.values():
            server.__exit__()
    return table


def through_cpp(served, count, seed, program, folder):  # noqa: F811
    """Straight to the graph, as a server does that checks names and no more."""
    rng, table = np.random.default_rng(seed), Table("c++")
    for name, (path, one) in served.items():
        cases = {}
        while len(cases) < count // len(served):
            kind, signature, inputs = draw(rng, one)
            if kind not in ("missing", "extra", "renamed", "signature"):
                cases[f"{signature}.{len(cases)}"] = kind, signature, inputs
        for request, (_, _, inputs) in cases.items():
            (folder / name / request).mkdir(parents=True)
            for key, value in inputs.items():
                proto = tf.make_tensor_proto(value).SerializeToString()
                (folder / name / request / f"{key}.in").write_bytes(proto)
        model = find_version(path)
        subprocess.run([program, model, folder / name, "--each"], check=True, capture_output=True)
        for request, case in cases.items():
            found = folder / name / request
            answer = error = None
            if (found / "error").exists():
                error = (found / "error").read_text().partition(":")[0]
                assert error == "INVALID_ARGUMENT", (case, (found / "error").read_text())
            else:
                [file] = found.glob("*.out")
                answer = tf.make_ndarray(tensor_pb2.TensorProto.FromString(file.read_bytes()))
            table.judge(one, case, answer, error)
    return table


def test_some(served):
    models = served("classes")  # which has every signature
    through_python(models, 150, seed=0).show()
    through_rest(models, 150, seed=1).show()


@pytest.mark.slow
def test_many(served, program, tmp_path):  # noqa: F811
    models, seed = served("toy", "images", "classes"), random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    through_cpp(models, 3000, seed, program, tmp_path).show()
    through_python(models, 4000, seed).show()
    through_rest(models, 3000, seed).show()
