"""Configs with parts in them."""

import keras


def deserialize_parts(config, *names):
    """A copy of `config` with the serialized objects under these names rebuilt."""
    parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in names}
    return {**config, **parts}


def serialize_parts(owner, *names):
    """The attributes of these names, serialized."""
    return {name: keras.saving.serialize_keras_object(getattr(owner, name)) for name in names}
