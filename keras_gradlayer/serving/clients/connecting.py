"""A client for a server's address."""

import os
import pathlib
import urllib.parse

from keras_gradlayer.serving.clients.client import Client
from keras_gradlayer.serving.clients.local_client import LocalClient


def connect(url: str | pathlib.Path, model: str = "sampler", **kwargs) -> Client:
    """Connect to a server of an exported sampler, or open a local one.

    Args:
        url: "grpc://host:8500" (or grpcs) for gRPC, "http://host:8501" (or https) for REST, or the
            path of a SavedModel or model folder, which is then run in this process.
        model: the model's name on the server.
        **kwargs: `batch_size`, `timeout`, `version` or `label`, `headers`, as for `Client`.

    Returns:
        A client with `generate`, `sample`, `sample_layers`, `score`, `image` and `predict`.

    Raises:
        ValueError: for another kind of address.
        ImportError: if the protocol's package is missing (TensorFlow brings both).

    Example:
        >>> with connect(folder) as client:                 # or connect("grpc://localhost:8500")
        ...     client.sample([0, 1, 2]).shape
        (3, 2)
    """
    expected = (
        "Expected an address such as grpc://localhost:8500 or http://localhost:8501, or the folder "
        f"of a model. Received: {url!r}"
    )
    if not isinstance(url, (str, os.PathLike)):
        raise TypeError(expected)
    url = str(url)
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as e:  # a port that is none
        raise ValueError(expected) from e
    if url and (pathlib.Path(url).is_dir() or not parts.scheme):
        return LocalClient(url, model=model, **kwargs)
    try:
        if parts.scheme in ("grpc", "grpcs") and parts.port:
            from keras_gradlayer.serving.clients.grpc_client import GrpcClient

            return GrpcClient(parts.netloc, parts.scheme == "grpcs", model=model, **kwargs)
        if parts.scheme in ("http", "https") and parts.netloc:
            from keras_gradlayer.serving.clients.rest_client import RestClient

            return RestClient(url, model=model, **kwargs)
    except ImportError as e:
        raise ImportError(
            f"{parts.scheme}:// needs the package {e.name}: pip install 'keras-gradlayer[serving]'"
        ) from e
    raise ValueError(expected)
