"""Configs of objects with parts in them."""

import inspect
from typing import Any, Self

import keras


class Configured:
    """For use beside a Keras class: config and back, by the names of constructor arguments.

    `_PARTS` are objects that Keras serializes, `_SETTINGS` plain values; both are attributes.
    """

    _PARTS: tuple[str, ...] = ()
    _SETTINGS: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, parts serialized."""
        serialize = keras.saving.serialize_keras_object
        parts = {name: serialize(getattr(self, name)) for name in self._PARTS}
        settings = {name: getattr(self, name) for name in self._SETTINGS}
        own = super().get_config()  # type: ignore[misc]  # of the Keras class beside this one
        return {**own, **parts, **settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuild the object with its parts."""
        deserialize = keras.saving.deserialize_keras_object
        arguments = inspect.signature(cls).parameters.values()
        needed = {p.name for p in arguments if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
        if missing := needed - config.keys():
            raise ValueError(
                f"The config of a {cls.__name__} must have {', '.join(sorted(needed))}. "
                f"Received: one without {', '.join(sorted(missing))}"
            )
        given = [name for name in cls._PARTS if name in config]  # not all in files of before
        return cls(**{**config, **{name: deserialize(config[name]) for name in given}})
