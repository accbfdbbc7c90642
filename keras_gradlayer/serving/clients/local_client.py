"""Calling a local exported sampler, without a server."""

import os

import tensorflow as tf

from keras_gradlayer.serving.clients.client import Client
from keras_gradlayer.serving.versions import find_version, read_graph


class LocalClient(Client):
    """A client of a SavedModel in this process; the same calls as of a server.

    Args:
        path: a SavedModel folder, or a model folder, for its newest version.
        **kwargs: as for `Client`.
    """

    def __init__(self, path: str | os.PathLike, **kwargs):
        super().__init__(**kwargs)
        if self.label is not None:
            raise ValueError(f"Labels are a server's. Received: label={self.label!r} for {path}")
        self._folder = find_version(path, self.version)
        try:
            self.loaded = tf.saved_model.load(str(self._folder), tags=["serve"])
        except Exception as e:  # damaged files raise anything
            raise ValueError(f"{self._folder} cannot be loaded: {e}") from e

    def close(self) -> None:
        """Nothing is open."""

    def _send(self, signature, inputs):
        inputs = {key: tf.constant(value) for key, value in inputs.items()}
        return {key: v.numpy() for key, v in self.loaded.signatures[signature](**inputs).items()}

    def _fetch_signatures(self):
        return read_graph(self._folder).signature_def
