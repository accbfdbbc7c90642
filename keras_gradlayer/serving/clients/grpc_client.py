"""Calling a served sampler over gRPC."""

import json

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_gradlayer.serving.clients.client import Client

_RETRY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.service_config", json.dumps(_RETRY)),
    ("grpc.max_receive_message_length", -1),
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
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(address, credentials, _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, _OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _send(self, signature, inputs):
        request = predict_pb2.PredictRequest()
        self._name(request)
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        outputs = self._call(self._stub.Predict, request).outputs
        return {key: np.asarray(tf.make_ndarray(proto)) for key, proto in outputs.items()}

    def _fetch_signatures(self):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request)
        answer = self._call(self._stub.GetModelMetadata, request)
        published = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(published)
        return published.signature_def

    def _name(self, request):
        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        elif self.label is not None:
            request.model_spec.version_label = self.label

    def _call(self, method, request):
        try:
            metadata = [(key.lower(), value) for key, value in self.headers.items()]
            return method(request, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as e:
            kind = _ERRORS.get(e.code(), RuntimeError)
            raise kind(f"The server answered {e.code().name}: {e.details()}") from e
