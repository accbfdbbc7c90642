"""DCGAN generator and critic, after Radford et al. (2016), as WGAN-GP uses them."""

import keras
from keras import layers

from keras_gradlayer import _checks
from keras_gradlayer.models.mlp import dropouts


def _stages(image_shape):
    """How many factors of two lie between the image and a core of at least 4 pixels."""
    height, width, channels = _checks.image_shape(image_shape)
    n = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) // 2 >= 4:
        height, width, n = height // 2, width // 2, n + 1
    if n == 0:
        raise ValueError(
            "`image_shape` must be (height, width, channels) with an even height and width of at "
            f"least 8. Received: image_shape={tuple(image_shape)}"
        )
    return n, height, width, channels


def dcgan_generator(
    image_shape: tuple[int, int, int], latent_dim: int = 128, width: int = 64
) -> keras.Model:
    """A DCGAN generator, (batch, latent_dim) -> (batch, *image_shape) in [-1, 1].

    Transposed convolutions of 5x5 and stride 2 with batch normalization, doubling the image from
    a small core; the tanh is a layer of its own at the end. Gradient layers can go in after the
    convolutions `conv2d_transpose`, `conv2d_transpose_1` and on, named from the core outwards.

    Source: Radford et al., ICLR 2016; the width and the latent of WGAN-GP (Gulrajani et al., 2017).

    Args:
        image_shape: (height, width, channels), even and at least 8 pixels.
        latent_dim: length of the latent vector.
        width: channels before the last layer; the core has width * 2^(stages - 1).

    Raises:
        ValueError: if the image's sides are not even or below 8, or for numbers out of range.

    Example:
        >>> generator = dcgan_generator((32, 32, 3), width=32)
    """
    n, h, w, channels = _stages(image_shape)
    _checks.positive_int("latent_dim", latent_dim)
    _checks.positive_int("width", width)
    filters = [width * 2**k for k in reversed(range(n))]
    _checks.fits_memory("latent_dim", latent_dim, 4 * latent_dim * h * w * filters[0])
    _checks.fits_memory("width", width, 4 * 25 * filters[0] ** 2)
    stack = [
        layers.Input((latent_dim,)),
        layers.Dense(h * w * filters[0], use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Reshape((h, w, filters[0])),
    ]
    names = ["conv2d_transpose", *(f"conv2d_transpose_{k}" for k in range(1, n))]
    for f, name in zip(filters[1:], names):
        stack += [
            layers.Conv2DTranspose(f, 5, strides=2, padding="same", use_bias=False, name=name),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    precision = keras.backend.result_type(keras.config.dtype_policy().variable_dtype, "float32")
    stack += [
        layers.Conv2DTranspose(channels, 5, strides=2, padding="same", name=names[-1]),
        layers.Activation("tanh", dtype=precision),  # at least float32
    ]
    return keras.Sequential(stack, name="dcgan_generator")


def dcgan_critic(
    image_shape: tuple[int, int, int],
    width: int = 64,
    dropout: float = 0.0,
    spectral_normalization: bool = False,
) -> keras.Model:
    """A DCGAN critic for gradient penalties, (batch, *image_shape) -> (batch, 1).

    Convolutions of 5x5 and stride 2 with leaky ReLU, halving the image down to a small core, then
    a linear score.

    Source: Radford et al., ICLR 2016. Departure: no batch normalization, which couples the rows,
    while the penalty is per sample (Gulrajani et al., 2017, section 4).

    Args:
        image_shape: (height, width, channels), even and at least 8 pixels.
        width: channels of the first convolution; each further one has twice as many.
        dropout: rate of a dropout after each convolution, as CT-GAN's critic has (0.5; Wei et al.,
            ICLR 2018); 0 for none.
        spectral_normalization: whether each layer is held to a spectral norm of 1 (Miyato et al.,
            ICLR 2018), as for the hinge loss.

    Raises:
        ValueError: if the image's sides are not even or below 8, or for numbers out of range.

    Example:
        >>> critic = dcgan_critic((32, 32, 3), width=32)
    """
    n, *_ = _stages(image_shape)
    _checks.positive_int("width", width)
    _checks.fits_memory("width", width, 4 * 25 * (width * 2**n) ** 2)
    stack = [layers.Input(tuple(image_shape))]
    held = layers.SpectralNormalization if spectral_normalization else lambda layer: layer
    for k in range(n):
        stack += [
            held(layers.Conv2D(width * 2**k, 5, strides=2, padding="same")),
            layers.LeakyReLU(negative_slope=0.2),
            *dropouts(dropout),
        ]
    stack += [layers.Flatten(), held(layers.Dense(1))]
    return keras.Sequential(stack, name="dcgan_critic")
