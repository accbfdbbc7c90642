"""A small stand-in for TensorFlow Serving: its two protocols, and its rules of batching.

It holds to what the server's documentation and source say of batching: requests of one signature
are merged along axis 0, in batches of at most max_batch_size, and padded with the first row of the
last request to the next of allowed_batch_sizes; all inputs of a request have the same number of
rows; all outputs must have the batch as axis 0; a request larger than max_batch_size is refused;
so is one that finds the queue full. Warm-up requests are replayed at load, and stop it if they
fail.
"""

import base64
import concurrent.futures
import http.server
import json
import pathlib
import queue
import re
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_gradlayer.serving import warmup
from keras_gradlayer.serving.batching import FILE as BATCHING
from keras_gradlayer.serving.batching import read_batching
from keras_gradlayer.serving.versions import versions

_HTTP = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503}


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Batcher:
    """One signature's queue and the thread that empties it."""

    def __init__(self, function, sizes, timeout, enqueued):
        self.function, self.sizes, self.timeout = function, sizes, timeout
        self.queue = queue.Queue(enqueued)
        self.batches = []  # the sizes that were run, for the tests
        threading.Thread(target=self._work, daemon=True).start()

    def run(self, inputs):
        lengths = {v.shape[0] if v.ndim else None for v in inputs.values()}
        if len(lengths) != 1 or None in lengths:
            raise Refused(
                "INVALID_ARGUMENT",
                "Batching Run() input tensors must have equal 0th-dimension size",
            )
        [rows] = lengths
        if rows > self.sizes[-1]:
            raise Refused(
                "INVALID_ARGUMENT",
                f"Task size {rows} is larger than maximum input batch size {self.sizes[-1]}",
            )
        future = concurrent.futures.Future()
        try:
            self.queue.put_nowait((rows, inputs, future))
        except queue.Full:
            raise Refused("UNAVAILABLE", "The batch scheduling queue is full") from None
        return future.result()

    def _work(self):
        held = None
        while True:
            tasks = [held or self.queue.get()]
            held, rows = None, tasks[0][0]
            end = time.monotonic() + self.timeout
            while rows < self.sizes[-1]:
                try:
                    task = self.queue.get(timeout=max(0, end - time.monotonic()))
                except queue.Empty:
                    break
                if rows + task[0] > self.sizes[-1]:
                    held = task
                    break
                tasks.append(task)
                rows += task[0]
            self._run(tasks, rows)

    def _run(self, tasks, rows):
        try:
            size = next(s for s in self.sizes if s >= rows)
            self.batches.append(size)
            merged = {}
            for key in tasks[0][1]:
                parts = [inputs[key] for _, inputs, _ in tasks]
                if len({p.shape[1:] for p in parts}) > 1:
                    raise Refused("FAILED_PRECONDITION", "Tensors have different shapes")
                parts += [parts[-1][:1]] * (size - rows)
                merged[key] = tf.constant(np.concatenate(parts))
            outputs = {k: v.numpy() for k, v in self.function(**merged).items()}
            for value in outputs.values():
                if value.ndim == 0:
                    raise Refused("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
                if len(value) != size:
                    raise Refused(
                        "FAILED_PRECONDITION",
                        "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                        "dimension sizes of the input tensors",
                    )
        except Exception as e:
            for _, _, future in tasks:
                future.set_exception(e)
            return
        begin = 0
        for n, _, future in tasks:
            future.set_result({k: v[begin : begin + n] for k, v in outputs.items()})
            begin += n


class Model:
    """One version, loaded and warm."""

    def __init__(self, folder):
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signature_def = saved.meta_graphs[0].signature_def
        self.loaded = tf.saved_model.load(str(folder))
        if (folder / warmup.FILE).exists():
            for request in warmup.read_warmup(folder):
                warmup.replay(self.loaded.signatures[request.model_spec.signature_name], request)
        parameters = read_batching((folder / BATCHING).read_text())
        sizes = list(parameters.allowed_batch_sizes)
        timeout = parameters.batch_timeout_micros.value / 1e6
        enqueued = parameters.max_enqueued_batches.value
        self.batchers = {
            name: Batcher(function, sizes, timeout, enqueued)
            for name, function in self.loaded.signatures.items()
        }

    def specs(self, name):
        if name not in self.batchers:
            raise Refused("INVALID_ARGUMENT", f"Serving signature key '{name}' not found.")
        return self.loaded.signatures[name].structured_input_signature[1]

    def predict(self, name, inputs):
        specs = self.specs(name)
        if set(inputs) != set(specs):
            raise Refused("INVALID_ARGUMENT", f"input keys {set(inputs)}, expected {set(specs)}")
        for key, value in inputs.items():
            if value.dtype != specs[key].dtype.as_numpy_dtype:
                raise Refused("INVALID_ARGUMENT", f"{key}: {value.dtype}, {specs[key].dtype}")
        return self.batchers[name].run(inputs)


class Server:
    """Serves a model folder over gRPC and REST, on ports of its own.

    Args:
        folder: the model folder.
        name: the model's name.
        labels: version numbers by label.
        fail_first: how many requests to refuse as if the server were starting.
        delay: seconds to wait before each answer.
    """

    def __init__(self, folder, name="sampler", labels=None, fail_first=0, delay=0.0):
        self.name, self.labels, self.fail_first, self.delay = name, labels or {}, fail_first, delay
        found = versions(pathlib.Path(folder))
        self.models = {version: Model(path) for version, path in found.items()}
        self.lock = threading.Lock()
        self.last_headers = {}  # of the last request for a prediction, for the tests
        self.grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(128),
            options=[("grpc.max_receive_message_length", -1)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Predictions(self), self.grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self.grpc)
        self.grpc_port = self.grpc.add_insecure_port("localhost:0")
        self.grpc.start()
        handler = type("Handler", (_Handler,), {"server_": self})
        self.rest = _Http(("localhost", 0), handler)
        self.rest_port = self.rest.server_address[1]
        threading.Thread(target=self.rest.serve_forever, daemon=True).start()

    def urls(self):
        return f"grpc://localhost:{self.grpc_port}", f"http://localhost:{self.rest_port}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.grpc.stop(0)
        self.rest.shutdown()
        self.rest.server_close()

    def enter(self):
        """What happens to every request first."""
        with self.lock:
            if self.fail_first > 0:
                self.fail_first -= 1
                raise Refused("UNAVAILABLE", "the server is starting")
        time.sleep(self.delay)

    def model(self, name, version=None, label=None):
        if label and label not in self.labels:
            raise Refused("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        version = self.labels[label] if label else version or max(self.models)
        if name != self.name or version not in self.models:
            raise Refused("NOT_FOUND", f"Servable not found for request: {name} {label or version}")
        return version, self.models[version]


def _answer(context, f):
    """Run f, and turn what goes wrong into a status."""
    try:
        return f()
    except Refused as e:
        context.abort(getattr(grpc.StatusCode, e.code), str(e))
    except Exception as e:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server):
        self.server = server

    def _model(self, spec):
        label = spec.version_label or None
        number = spec.version.value if spec.HasField("version") else None
        return self.server.model(spec.name, number, label)

    def Predict(self, request, context):
        def f():
            self.server.enter()
            self.server.last_headers = dict(context.invocation_metadata())
            version, model = self._model(request.model_spec)
            name = request.model_spec.signature_name or "serving_default"
            inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            response.model_spec.name = self.server.name
            response.model_spec.version.value = version
            for key, value in model.predict(name, inputs).items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

        return _answer(context, f)

    def GetModelMetadata(self, request, context):
        def f():
            self.server.enter()
            _, model = self._model(request.model_spec)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            published = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_def)
            response.metadata["signature_def"].Pack(published)
            return response

        return _answer(context, f)


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server):
        self.server = server

    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.server.models:
            response.model_version_status.add(version=version, state=30)
        return response


class _Http(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_ = None

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._reply(self._get)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(lambda: self._predict(json.loads(body)))

    def _reply(self, f):
        try:
            status, answer = 200, f()
        except Refused as e:
            status, answer = _HTTP[e.code], {"error": str(e)}
        except Exception as e:
            status, answer = 400, {"error": str(e)}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _model(self):
        match = re.fullmatch(
            r"/v1/models/(\w+)(?:/versions/(\d+)|/labels/(\w+))?(/metadata|:predict)?", self.path
        )
        if not match:
            raise Refused("NOT_FOUND", f"Malformed request: {self.command} {self.path}")
        name, version, label, _ = match.groups()
        return self.server_.model(name, version and int(version), label)[1]

    def _get(self):
        self.server_.enter()
        model = self._model()
        if not self.path.endswith("/metadata"):
            states = [{"version": str(v), "state": "AVAILABLE"} for v in self.server_.models]
            return {"model_version_status": states}
        published = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_def)
        return {
            "metadata": {
                "signature_def": json_format.MessageToDict(
                    published, preserving_proto_field_name=True
                )
            }
        }

    def _predict(self, body):
        self.server_.enter()
        self.server_.last_headers = {k.lower(): v for k, v in self.headers.items()}
        model = self._model()
        name = body.get("signature_name", "serving_default")
        specs = model.specs(name)
        if "instances" in body:
            rows = body["instances"]
            if not rows:
                raise Refused("INVALID_ARGUMENT", "no instances")
            if not isinstance(rows[0], dict):
                [key] = specs
                rows = [{key: row} for row in rows]
            columns = {key: [row[key] for row in rows] for key in rows[0]}
        else:
            columns = body["inputs"]
            if not isinstance(columns, dict):
                [key] = specs
                columns = {key: columns}
        inputs = {
            key: _tensor(key, value, specs[key].dtype.as_numpy_dtype)
            for key, value in columns.items()
        }
        outputs = {key: _json(key, v) for key, v in model.predict(name, inputs).items()}
        if "inputs" in body:
            return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        return {"predictions": [dict(zip(outputs, row)) for row in zip(*outputs.values())]}


def _tensor(key, value, dtype):
    """Values of JSON, which are not made to fit."""
    if dtype is object:
        return np.asarray(value, object)
    array, kinds = np.asarray(value), "iu" if np.issubdtype(dtype, np.integer) else "iuf"
    if array.size and (array.dtype.kind not in kinds or not _fits(array, dtype)):
        raise Refused("INVALID_ARGUMENT", f"{key}: JSON value is not of expected type {dtype}")
    return array.astype(dtype)


def _fits(array, dtype):
    return not np.issubdtype(dtype, np.integer) or np.array_equal(array.astype(dtype), array)


def _json(key, value):
    if value.dtype == object:
        if not key.endswith("_bytes"):
            return [v.decode() for v in value]
        return [{"b64": base64.b64encode(v).decode()} for v in value]
    return value.tolist()
