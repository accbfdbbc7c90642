"""The messages of TensorFlow Serving that are exchanged here.

Its Python package has them too, but each release of it works with one minor version of TensorFlow
and of protobuf only. On the wire they have not changed since 2018.
"""

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

_PACKAGE = "keras_gradlayer"
_KIND = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _KIND.TYPE_STRING, "int64": _KIND.TYPE_INT64, "bool": _KIND.TYPE_BOOL}
_MESSAGES = {
    "ModelSpec": [
        "string name = 1",
        "google.protobuf.Int64Value version = 2",
        "string signature_name = 3",
        "string version_label = 4",
    ],
    "PredictRequest": ["ModelSpec model_spec = 1", "map tensorflow.TensorProto inputs = 2"],
    "PredictResponse": ["map tensorflow.TensorProto outputs = 1"],
    "PredictLog": ["PredictRequest request = 1"],
    "PredictionLog": ["PredictLog predict_log = 6"],
    "GetModelMetadataRequest": ["ModelSpec model_spec = 1", "repeated string metadata_field = 2"],
    "GetModelMetadataResponse": ["map google.protobuf.Any metadata = 2"],
    "SignatureDefMap": ["map tensorflow.SignatureDef signature_def = 1"],
    "BatchingParameters": [
        "google.protobuf.Int64Value max_batch_size = 1",
        "google.protobuf.Int64Value batch_timeout_micros = 2",
        "google.protobuf.Int64Value max_enqueued_batches = 3",
        "google.protobuf.Int64Value num_batch_threads = 4",
        "google.protobuf.StringValue thread_pool_name = 5",
        "repeated int64 allowed_batch_sizes = 6",
        "bool pad_variable_length_inputs = 7",
        "google.protobuf.BoolValue enable_large_batch_splitting = 8",
        "google.protobuf.Int64Value max_execution_batch_size = 9",
    ],
}


def _add_field(message, text):
    *label, kind, name, _, number = text.split()
    field = message.field.add(name=name, number=int(number), label=_KIND.LABEL_OPTIONAL)
    if label:
        field.label = _KIND.LABEL_REPEATED
    if label == ["map"]:  # repeated pairs of a key and a value
        pair = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        pair.options.map_entry = True
        _add_field(pair, "string key = 1")
        _add_field(pair, f"{kind} value = 2")
        kind = pair.name
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _KIND.TYPE_MESSAGE, kind


def _classes():
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}/messages.proto", package=_PACKAGE, syntax="proto3"
    )
    for module in (any_pb2, wrappers_pb2, tensor_pb2, meta_graph_pb2):
        file.dependency.append(module.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, field)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(message) for name, message in found.items()}


_CLASSES = _classes()
ModelSpec = _CLASSES["ModelSpec"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
PredictLog = _CLASSES["PredictLog"]
PredictionLog = _CLASSES["PredictionLog"]
GetModelMetadataRequest = _CLASSES["GetModelMetadataRequest"]
GetModelMetadataResponse = _CLASSES["GetModelMetadataResponse"]
SignatureDefMap = _CLASSES["SignatureDefMap"]
BatchingParameters = _CLASSES["BatchingParameters"]
