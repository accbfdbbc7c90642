"""The batch sizes of a model, as TensorFlow Serving reads them from beside it."""

import pathlib
from collections.abc import Sequence

from google.protobuf import message, text_format

from keras_gradlayer.serving.messages import BatchingParameters

FILE = "batching_params.pbtxt"
_DEFAULT_MAX_BATCH_SIZE = 1000  # the server's
_HEADER = (
    "# Read by tensorflow_model_server --enable_batching --enable_per_model_batching_parameters.\n"
)


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
    if sizes != sorted(set(sizes)):
        raise ValueError(f"allowed_batch_sizes must increase, and are {sizes}")
    given = parameters.HasField("max_batch_size")
    largest = parameters.max_batch_size.value if given else _DEFAULT_MAX_BATCH_SIZE
    if sizes and largest != sizes[-1]:
        raise ValueError(
            f"max_batch_size, {largest}{'' if given else ' by default'}, must be the last of "
            f"allowed_batch_sizes, {sizes[-1]}"
        )
    return parameters
