"""What all latent distributions share."""

import inspect
from typing import Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks


class Latent:
    """A distribution of independent float32 entries, serializable and stateless.

    A seed gives other numbers in a function compiled by XLA, whose generators differ. To add a
    distribution, implement `sample` and `_sample_stateless`.

    Args:
        shape: shape of one sample, a tuple of positive integers; (0,) where a conditional model
            takes no noise.

    Raises:
        ValueError: if `shape` is another.

    Example:
        >>> kgl.latents.Gaussian((128,)).shape
        (128,)
    """

    def __init__(self, shape: int | tuple[int, ...]):
        self.shape = _checks.sample_shape("shape", shape, empty_ok=True)

    def sample(
        self, n: int | tf.Tensor, seed: int | keras.random.SeedGenerator | None = None
    ) -> tf.Tensor:
        """Draw `n` samples in bulk, float32 of shape (n, *shape).

        Args:
            n: how many, an integer or an integer tensor.
            seed: an integer of 64 bits, or a `keras.random.SeedGenerator`, which advances at each
                call; by default the next numbers of Keras' global stream.

        Raises:
            ValueError: for any other seed.
        """
        raise NotImplementedError

    def sample_rows(self, seeds: ArrayLike) -> tf.Tensor:
        """Draw one sample for each seed, float32 of shape (n, *shape).

        Slower than `sample`; use it where each sample must be reproducible by its own seed.

        Args:
            seeds: integers of shape (n,).

        Raises:
            ValueError: if `seeds` are not integers of 64 bits.
        """
        expected = "integers of 64 bits, shape (n,)"
        x: tf.Tensor = seeds if tf.is_tensor(seeds) else _checks.array("seeds", seeds, expected)
        known = tf.as_dtype(x.dtype).is_integer and len(x.shape) == 1
        if not known or (x.dtype == "uint64" and np.any(np.asarray(x) >= 2**63)):
            raise ValueError(
                f"`seeds` must be {expected}. Received: {x.dtype} of shape {tuple(x.shape)}"
            )
        return tf.map_fn(
            lambda s: self._sample_stateless(tf.stack([s, tf.zeros_like(s)])),
            tf.cast(x, "int64"),
            fn_output_signature=tf.TensorSpec(self.shape, "float32"),
        )

    def _many(self, n):
        """The shape of `n` samples."""
        n = n if tf.is_tensor(n) else _checks.positive_int("n", n, zero_ok=True)
        return (n, *self.shape)

    def _sample_stateless(self, seed):
        """One sample, a function of the two integers of `seed`."""
        raise NotImplementedError

    def get_config(self) -> dict:
        """The constructor's arguments, which are attributes of the same names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """Rebuild the distribution."""
        return cls(**config)

    def __repr__(self):
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
