"""Normal latents."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks, _random
from keras_gradlayer.latents.latent import Latent


@keras.saving.register_keras_serializable("keras_gradlayer")
class Gaussian(Latent):
    """Independent normal entries of mean zero, the latent of most GANs.

    Args:
        shape: shape of one sample, without the batch.
        stddev: standard deviation of each entry, positive.

    Raises:
        ValueError: if `shape` has no or non-positive entries, or `stddev` is not positive.

    Example:
        >>> z = Gaussian((128,)).sample(16, seed=0)     # (16, 128)
    """

    def __init__(self, shape: int | tuple[int, ...], stddev: float = 1.0):
        super().__init__(shape)
        self.stddev = _checks.positive_number("stddev", stddev)

    def sample(
        self, n: int | tf.Tensor, seed: int | keras.random.SeedGenerator | None = None
    ) -> tf.Tensor:
        """Draw `n` samples in bulk, shape (n, *shape)."""
        return _random.normal(self._many(n), seed, self.stddev)

    def _sample_stateless(self, seed):
        return tf.random.stateless_normal(self.shape, seed, stddev=self.stddev)


def default_latent(model: keras.Model) -> Gaussian:
    """A standard normal in the shape of `model`'s input."""
    shape = getattr(model, "input_shape", None) if isinstance(model, keras.Model) else None
    if isinstance(shape, list):  # of [latent, condition]
        shape = shape[0]
    if not isinstance(shape, tuple) or None in shape[1:]:
        raise ValueError(
            f"The latent's shape cannot be read off '{getattr(model, 'name', model)}'. Expected "
            "a model with one input of known shape. Pass `latent=`, such as "
            f"kgl.latents.Gaussian((128,)). Received: input_shape={shape}"
        )
    return Gaussian(shape[1:])
