"""The batch sizes of a model, as TensorFlow Serving reads them from beside it."""

import pathlib
from collections.abc import Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format
from google.protobuf import wrappers_pb2 as _wrappers  # noqa: F401 (registers Int64Value)

FILE = "batching_params.pbtxt"
# What the server takes for max_batch_size where a file names none.
_DEFAULT_LARGEST = 1000
_HEADER = (
    "# Read by tensorflow_model_server --enable_batching --enable_per_model_batching_parameters.\n"
)


def _message_class():
    """The server's BatchingParameters, which its Python package leaves out."""
    file = descriptor_pb2.FileDescriptorProto(
        name="keras_gradlayer/batching.proto",
        package="keras_gradlayer",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    parameters = file.message_type.add(name="BatchingParameters")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, name, kind in (
        (1, "max_batch_size", "Int64Value"),
        (2, "batch_timeout_micros", "Int64Value"),
        (3, "max_enqueued_batches", "Int64Value"),
        (4, "num_batch_threads", "Int64Value"),
        (5, "thread_pool_name", "StringValue"),
        (8, "enable_large_batch_splitting", "BoolValue"),
        (9, "max_execution_batch_size", "Int64Value"),
    ):
        parameters.field.add(
            name=name,
            number=number,
            type=kinds.TYPE_MESSAGE,
            label=kinds.LABEL_OPTIONAL,
            type_name=f".google.protobuf.{kind}",
        )
    parameters.field.add(
        name="allowed_batch_sizes", number=6, type=kinds.TYPE_INT64, label=kinds.LABEL_REPEATED
    )
    parameters.field.add(
        name="pad_variable_length_inputs",
        number=7,
        type=kinds.TYPE_BOOL,
        label=kinds.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.Default()
    pool.Add(file)
    found = pool.FindMessageTypeByName("keras_gradlayer.BatchingParameters")
    return message_factory.GetMessageClass(found)


BatchingParameters = _message_class()


def write_batching(folder: pathlib.Path, sizes: Sequence[int]) -> None:
    """Write the batch sizes that the server may form, increasing."""
    parameters = BatchingParameters(allowed_batch_sizes=sizes)
    parameters.max_batch_size.value = sizes[-1]
    parameters.batch_timeout_micros.value = 2000
    parameters.max_enqueued_batches.value = 1000
    (folder / FILE).write_text(_HEADER + text_format.MessageToString(parameters))


def read_batching(text: str) -> message.Message:
    """Parse the text as the server does.

    Raises:
        ValueError: if the server would refuse it.
    """
    try:
        parameters = text_format.Parse(text, BatchingParameters())
    except text_format.ParseError as e:
        raise ValueError(f"it cannot be read: {e}") from e
    sizes = list(parameters.allowed_batch_sizes)
    given = parameters.HasField("max_batch_size")
    largest = parameters.max_batch_size.value if given else _DEFAULT_LARGEST
    if sizes != sorted(set(sizes)):
        raise ValueError(f"allowed_batch_sizes must increase, and are {sizes}")
    if sizes and largest != sizes[-1]:
        shown = largest if given else f"{largest} by default"
        raise ValueError(
            f"max_batch_size, {shown}, must be the last of allowed_batch_sizes, {sizes[-1]}"
        )
    return parameters
