"""Calling an exported sampler that lies here, without a server."""

import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_gradlayer.serving.client import Client
from keras_gradlayer.serving.versions import find_version


class LocalClient(Client):
    """A client of a SavedModel in this process; the same calls as of a server.

    Args:
        path: a SavedModel folder, or a model folder, for its newest version.
        **kwargs: as for `Client`.
    """

    def __init__(self, path: str | pathlib.Path, **kwargs):
        super().__init__(**kwargs)
        self._folder = find_version(path)
        self._loaded = tf.saved_model.load(str(self._folder))

    def close(self) -> None:
        """Nothing is open."""

    def _send(self, signature, inputs):
        inputs = {key: tf.constant(value) for key, value in inputs.items()}
        return {key: v.numpy() for key, v in self._loaded.signatures[signature](**inputs).items()}

    def _fetch_signatures(self):
        content = (self._folder / "saved_model.pb").read_bytes()
        return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def
