"""Calling a served sampler over gRPC."""

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_gradlayer.serving import messages
from keras_gradlayer.serving.clients.client import MOST_BYTES, Client

_RETRY = """{"methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
}}]}"""
_OPTIONS = [
    ("grpc.service_config", _RETRY),
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", -1),
]
_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT: ValueError,
    grpc.StatusCode.NOT_FOUND: ValueError,
    grpc.StatusCode.FAILED_PRECONDITION: ValueError,
    grpc.StatusCode.UNAVAILABLE: ConnectionError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimeoutError,
}


class GrpcClient(Client):
    """A client of TensorFlow Serving's PredictionService; smaller and faster than REST.

    Args:
        address: "host:port", by default port 8500 on the server.
        secure: whether to use TLS.
        **kwargs: as for `Client`.
    """

    def __init__(self, address: str, secure: bool = False, **kwargs):
        super().__init__(**kwargs)
        if secure:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, _OPTIONS)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _send(self, signature, inputs):
        request = messages.PredictRequest()
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        outputs = self._call("Predict", request, messages.PredictResponse).outputs
        return {key: _array(proto) for key, proto in outputs.items()}

    def _fetch_signatures(self):
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        answer = self._call("GetModelMetadata", request, messages.GetModelMetadataResponse)
        packed = answer.metadata["signature_def"].value
        try:
            return messages.SignatureDefMap.FromString(packed).signature_def
        except DecodeError as e:
            raise RuntimeError(f"The server's signatures cannot be read: {e}") from e

    def _call(self, method, request, response):
        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        elif self.label is not None:
            request.model_spec.version_label = self.label
        call = self._channel.unary_unary(
            f"/tensorflow.serving.PredictionService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        try:
            metadata = [(key.lower(), value) for key, value in self.headers.items()]
            return call(request, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as e:
            kind = _ERRORS.get(e.code(), RuntimeError)
            raise kind(f"The server answered {e.code().name}: {e.details()}") from e


def _array(proto):
    """A tensor, which a few bytes may claim to be of any size."""
    try:
        shape, dtype = tf.TensorShape(proto.tensor_shape), tf.as_dtype(proto.dtype)
        size = (shape.num_elements() or 0) * max(1, dtype.size or 1)
        if size > MOST_BYTES:
            raise ValueError(f"{size} bytes")
        return np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError) as e:
        raise RuntimeError(f"The server answered a tensor that cannot be read: {e}") from e
