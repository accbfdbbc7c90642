"""Asking a served sampler for samples."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow.core.protobuf import meta_graph_pb2

from keras_gradlayer import _checks

MOST_BYTES = 2**28
"""How much a server may answer to a request."""


class Client(AbstractContextManager):
    """What the clients of both protocols share; `connect` makes one.

    Inputs are checked against the signature that the server publishes before anything is sent.
    Requests of many rows are sent in batches of `batch_size`. Answers are checked, too: their
    outputs, rows, shapes and types, and that numbers are finite; they have up to 256 MB. Where a
    server is busy or drops a connection, there are four retries within a second or two.

    Args:
        model: the model's name on the server.
        batch_size: rows a request at most, up to the server's `max_batch_size`.
        timeout: seconds to wait for a batch.
        version: a version's number; the server's choice by default.
        label: a version's label, such as "stable", instead of its number.
        headers: HTTP headers, or gRPC metadata, to send along, such as an authorization.

    Raises:
        ValueError: for inputs that do not fit, or that the server refuses.
        ConnectionError: if the server cannot be reached or has no room, after the retries.
        TimeoutError: if a batch takes longer than `timeout`.
        RuntimeError: for other failures of the server, and for answers that do not fit.
    """

    def __init__(
        self,
        model: str = "sampler",
        batch_size: int = 64,
        timeout: float = 30.0,
        version: int | None = None,
        label: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        if version is not None and label is not None:
            raise ValueError(
                "Either a `version` or a `label` names what to ask. "
                f"Received: version={version}, label={label!r}"
            )
        _checks.name("model", model)
        if label is not None:
            _checks.name("label", label)
        headers = {} if headers is None else headers
        pairs = headers.items() if isinstance(headers, Mapping) else [(None, None)]
        if not all(isinstance(text, str) for pair in pairs for text in pair):
            raise ValueError(f"`headers` must be texts by name. Received: headers={headers!r}")
        self.model = model
        self.batch_size = _checks.positive_int("batch_size", batch_size)
        self.timeout = _checks.positive_number("timeout", timeout)
        self.version = None if version is None else _checks.positive_int("version", version)
        self.label = label
        self.headers = dict(headers)
        self._known: Mapping[str, meta_graph_pb2.SignatureDef] | None = None

    def generate(self, latents: ArrayLike, condition: ArrayLike | None = None) -> np.ndarray:
        """Samples for latents of shape (n, *latent.shape)."""
        return self._only("serving_default", condition, latent=latents)

    def sample(self, seeds: ArrayLike, condition: ArrayLike | None = None) -> np.ndarray:
        """Samples for seeds of shape (n,); the same seed gives the same sample."""
        return self._only("sample", condition, seed=seeds)

    def sample_layers(
        self, latents: ArrayLike, layers: ArrayLike, condition: ArrayLike | None = None
    ) -> np.ndarray:
        """Samples after `layers` gradient layers, an integer or (n,) of them; 0 is none."""
        if np.ndim(layers) == 0 and np.ndim(latents):
            layers = np.full(np.shape(latents)[0], layers)
        return self._only("sample_layers", condition, latent=latents, layers=layers)

    def score(self, samples: ArrayLike, condition: ArrayLike | None = None) -> np.ndarray:
        """The critic's scores (n,) of samples; higher is more like the data."""
        return self._only("score", condition, samples=samples)

    def image(self, seeds: ArrayLike, condition: ArrayLike | None = None) -> list[bytes]:
        """PNG files for seeds of shape (n,)."""
        return list(self._only("image", condition, seed=seeds))

    def conditions(self, seeds: ArrayLike) -> np.ndarray:
        """Conditions as the training data have them, for seeds of shape (n,)."""
        return self._only("conditions", seed=seeds)

    def predict(self, signature: str, /, **inputs: ArrayLike) -> dict[str, np.ndarray]:
        """The outputs of any signature, by name, for inputs by name."""
        inputs = self._checked(signature, inputs)
        starts = range(0, len(next(iter(inputs.values()))), self.batch_size)
        batches = ({k: v[i : i + self.batch_size] for k, v in inputs.items()} for i in starts)
        parts = [self._answer(signature, batch) for batch in batches]
        return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}

    def _answer(self, signature, inputs):
        """What the server gives for one batch, if it is what the signature promises."""
        outputs, known = self._send(signature, inputs), self.signatures()
        specs = known[signature].outputs if known else dict.fromkeys(outputs)
        if set(outputs) != set(specs):
            raise RuntimeError(
                f"The server answered {', '.join(sorted(outputs)) or 'nothing'}. Expected the "
                f"outputs of '{signature}', {', '.join(sorted(specs))}."
            )
        count = len(next(iter(inputs.values())))
        return {
            key: _believed(f"'{key}' of signature '{signature}'", value, specs[key], count)
            for key, value in outputs.items()
        }

    def _only(self, signature, condition=None, **inputs):
        if condition is not None:
            inputs["condition"] = condition
        [output] = self.predict(signature, **inputs).values()
        return output

    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """What the server publishes of the model, asked for once; empty if it does not."""
        if self._known is None:
            published = self._fetch_signatures()
            # Names in underscores are TensorFlow's own, such as the initialization.
            self._known = {k: v for k, v in published.items() if not k.startswith("__")}
        return self._known

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def __exit__(self, *error):
        self.close()

    @abstractmethod
    def _send(self, signature, inputs):
        """One request: arrays by name to arrays by name."""

    @abstractmethod
    def _fetch_signatures(self):
        """SignatureDefs by name, none if the server does not publish them."""

    def _checked(self, signature, inputs):
        """The inputs as arrays of the types that the signature takes."""
        known = self.signatures()
        if known and signature not in known:
            raise ValueError(
                f"'{self.model}' has the signatures {', '.join(sorted(known))}. "
                f"Received: {signature!r}"
            )
        specs = known[signature].inputs if known else dict.fromkeys(inputs)
        if set(specs) != set(inputs):
            raise ValueError(
                f"Signature '{signature}' takes {', '.join(sorted(specs))}. "
                f"Received: {', '.join(sorted(inputs)) or 'nothing'}"
            )
        arrays = {
            key: _array(f"'{key}' of signature '{signature}'", value, specs[key])
            for key, value in inputs.items()
        }
        lengths = {key: len(a) if a.ndim else None for key, a in arrays.items()}
        if len(set(lengths.values())) != 1 or not all(lengths.values()):
            raise ValueError(
                f"Signature '{signature}' takes one or more rows, as many of each input. "
                f"Received: {lengths}"
            )
        return arrays


def _believed(name, value, info, count):
    """An output as an array of what the signature gives for so many rows."""
    shape, dtype = tf.TensorShape([None] * value.ndim), tf.as_dtype(value.dtype)
    if info is not None:
        shape, dtype = tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype)
    fits = np.can_cast(value.dtype, dtype.as_numpy_dtype, "same_kind")
    rows = len(value) if value.ndim else None
    if rows != count or not fits or not shape.is_compatible_with(value.shape):
        expected = f"{count} rows, {dtype.name} of shape {shape}".replace("None", "n")
        raise RuntimeError(
            f"The server answered {value.dtype} of shape {value.shape} for {name}. "
            f"Expected {expected}."
        )
    with np.errstate(over="ignore"):  # said below
        array = value.astype(dtype.as_numpy_dtype, copy=False)
    if dtype.is_floating and (bad := np.sum(~np.isfinite(array.astype("float64")))):
        raise RuntimeError(f"The server answered {bad} NaN or infinite values for {name}.")
    return array


def _array(name, value, info):
    """`value` as an array of the type that a signature takes."""
    try:
        value = np.asarray(value)
    except ValueError as e:
        raise ValueError(f"{name} must be an array. Received: one that is not, {e}") from e
    if info is None:
        shape = tf.TensorShape([None] * max(value.ndim, 1))
        dtype = tf.int64 if value.dtype.kind in "iu" else tf.float32
    else:
        shape, dtype = tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype)
    if value.dtype.kind in "OSU" and dtype != tf.string:
        raise ValueError(f"{name} must be numbers. Received: {value.dtype}")
    if value.ndim and not len(value):
        return value  # which has no rows, whatever their type
    castable = np.can_cast(value.dtype, dtype.as_numpy_dtype, "same_kind")
    castable &= value.dtype.kind != "b" or dtype == tf.bool
    if not castable or not shape.is_compatible_with(value.shape):
        expected = f"{dtype.name} of shape {shape}".replace("None", "n")
        raise ValueError(
            f"{name} must be {expected}. Received: {value.dtype} of shape {value.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        array = value.astype(dtype.as_numpy_dtype)
    if dtype.is_integer and not np.array_equal(array, value):
        raise ValueError(f"{name} must fit in {dtype.name}. Received: {value.max()}")
    if dtype.is_floating and (bad := np.sum(~np.isfinite(array.astype("float64")))):
        raise ValueError(f"{name} must be finite. Received: {bad} NaN or infinite values")
    return array
