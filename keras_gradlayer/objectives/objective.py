"""The base class of objectives."""

from typing import Self

import tensorflow as tf


class Objective:
    """A game V(D, G) between scores: the critic ascends V, the generator descends it.

    To add one, implement the two methods, register it with
    `keras.saving.register_keras_serializable` and enter it in `objectives.get`.
    """

    name = None

    def get_config(self) -> dict:
        """The constructor's arguments; none."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """Rebuild the objective."""
        return cls(**config)

    def value(self, real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
        """V, a scalar, from the critic's scores of shape (batch,) or (batch, 1)."""
        raise NotImplementedError

    def generator_loss(self, fake_scores: tf.Tensor) -> tf.Tensor:
        """What the generator descends: the part of V that depends on it."""
        raise NotImplementedError
