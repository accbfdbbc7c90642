"""The base class of objectives."""

from typing import Self

import tensorflow as tf


class Objective:
    """A game between scores: the critic ascends V, the generator ascends E φ(D(g(z))).

    By default V = E f(D(x)) + E f(−D(g(z))), for a concave increasing f of the critic's score, and
    the generator descends V: φ(t) = −f(−t). The gradient layers of a `FineTuner` follow ∇φ(D(x)),
    the functional gradient of what the generator's loss measures.

    To add an objective, implement `f`, or `value`, and `potential` where φ is another; register
    the class with `keras.saving.register_keras_serializable` and enter it in `objectives.get`.

    Example:
        >>> class Clipped(Objective):
        ...     f = staticmethod(lambda t: tf.minimum(t, 1.0))
        >>> float(Clipped().value(tf.constant([3.0]), tf.constant([0.5])))
        0.5
    """

    name: str | None = None

    logits: bool = True
    """Whether scores are without bounds, so that a critic's final sigmoid does not belong."""

    @staticmethod
    def f(scores: tf.Tensor) -> tf.Tensor:
        """What V takes the mean of, entry by entry."""
        raise NotImplementedError("An Objective defines `f`, or `value` and `potential`")

    def value(self, real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
        """V, a scalar, from the critic's scores of shape (batch,) or (batch, 1)."""
        return tf.reduce_mean(self.f(real_scores)) + tf.reduce_mean(self.f(-fake_scores))

    def potential(self, scores: tf.Tensor) -> tf.Tensor:
        """φ, entry by entry: what the generator ascends, and gradient layers follow."""
        if type(self).generator_loss is not Objective.generator_loss:
            raise NotImplementedError(
                f"{type(self).__name__} defines a `generator_loss`, which does not tell gradient "
                "layers what function of one score to follow. Expected `potential(scores)` in its "
                "place, entry by entry, of which the generator ascends the mean"
            )
        return -self.f(-scores)

    def generator_loss(self, fake_scores: tf.Tensor) -> tf.Tensor:
        """What the generator descends, −E φ."""
        return -tf.reduce_mean(self.potential(fake_scores))

    def get_config(self) -> dict:
        """The constructor's arguments; none."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """Rebuild the objective."""
        return cls(**config)
