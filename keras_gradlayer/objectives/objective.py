"""The base class of objectives."""

from typing import Self

import tensorflow as tf


class Objective:
    """A game V(D, G) between scores: the critic ascends V, the generator descends it.

    By default V = E f(D(x)) + E f(−D(g(z))), for a concave increasing f of the critic's score.

    To add an objective, implement `f`, or `value` and `generator_loss`, register the class with
    `keras.saving.register_keras_serializable` and enter it in `objectives.get`.
    """

    name = None

    @staticmethod
    def f(scores: tf.Tensor) -> tf.Tensor:
        """What V takes the mean of, entry by entry."""
        raise NotImplementedError

    def value(self, real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
        """V, a scalar, from the critic's scores of shape (batch,) or (batch, 1)."""
        return tf.reduce_mean(self.f(real_scores)) + tf.reduce_mean(self.f(-fake_scores))

    def generator_loss(self, fake_scores: tf.Tensor) -> tf.Tensor:
        """What the generator descends: the part of V that depends on it."""
        return tf.reduce_mean(self.f(-fake_scores))

    def get_config(self) -> dict:
        """The constructor's arguments; none."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """Rebuild the objective."""
        return cls(**config)
