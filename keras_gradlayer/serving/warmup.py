"""Requests that a server replays as it loads a model, so that the first user does not wait."""

import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message

from keras_gradlayer.serving.messages import PredictionLog

FILE = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000


def write_warmup(
    folder: pathlib.Path,
    name: str,
    signatures: dict[str, tf.types.experimental.ConcreteFunction],
    batch_sizes: Iterable[int],
) -> None:
    """Write one record for each signature and batch size, the same bytes each time.

    Floats are zeros, which take no room however large the input is, and conditions, too; other
    integers count from 0 in each batch, and so reach every depth.
    """
    (folder / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / FILE)) as file:
        for signature, function in sorted(signatures.items()):
            for rows in batch_sizes:
                log = PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for spec in tf.nest.flatten(function.structured_input_signature):
                    counts = spec.dtype.is_integer and spec.name != "condition"
                    values = np.arange(rows if counts else 1, dtype=spec.dtype.as_numpy_dtype)
                    proto = tf.make_tensor_proto(values, spec.dtype, (rows, *spec.shape[1:]))
                    request.inputs[spec.name].CopyFrom(proto)
                file.write(log.SerializeToString(deterministic=True))


def read_warmup(folder: pathlib.Path) -> Iterator[Message | None]:
    """The recorded predict requests, and `None` for those of other kinds.

    A damaged file raises `tf.errors.DataLossError` or protobuf's `DecodeError`.
    """
    for record in tf.data.TFRecordDataset(str(folder / FILE)):
        log = PredictionLog.FromString(record.numpy())
        yield log.predict_log.request if log.HasField("predict_log") else None


def replay(signature: Callable, request: Message) -> dict[str, tf.Tensor]:
    """Answer a request with a signature of a SavedModel loaded here."""
    return signature(**{k: tf.constant(tf.make_ndarray(p)) for k, p in request.inputs.items()})
