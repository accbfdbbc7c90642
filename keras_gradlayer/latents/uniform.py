"""Uniform latents."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks, _random
from keras_gradlayer.latents.latent import Latent


@keras.saving.register_keras_serializable("keras_gradlayer")
class Uniform(Latent):
    """Independent entries, uniform in [low, high).

    Args:
        shape: shape of one sample, without the batch.
        low: lower end.
        high: upper end, above `low`.

    Raises:
        ValueError: if `shape` has no or non-positive entries, or `high` is not above `low`.

    Example:
        >>> z = Uniform((100,)).sample(16, seed=0)      # (16, 100)
    """

    def __init__(self, shape: int | tuple[int, ...], low: float = -1.0, high: float = 1.0):
        super().__init__(shape)
        self.low, self.high = _checks.interval(("low", "high"), (low, high))

    def sample(
        self, n: int | tf.Tensor, seed: int | keras.random.SeedGenerator | None = None
    ) -> tf.Tensor:
        """Draw `n` samples in bulk, shape (n, *shape)."""
        return _random.uniform(self._many(n), seed, self.low, self.high)

    def _sample_stateless(self, seed):
        return tf.random.stateless_uniform(self.shape, seed, self.low, self.high)
