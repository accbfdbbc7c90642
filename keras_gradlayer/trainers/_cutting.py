"""Where a tuner's gradient layers go: the base before them and the head after them."""

import keras

from keras_gradlayer import _checks
from keras_gradlayer.models.splitting import split


def cut(generator, insert, latent, output_activation):
    """Base and head for an insertion point."""
    identity = keras.Sequential([keras.layers.Input(latent.shape), keras.layers.Identity()])
    if output_activation != "auto" and insert != "top":
        raise ValueError(
            "`output_activation` goes with insert='top'. Received: "
            f"output_activation={output_activation!r} with insert={insert!r}"
        )
    if generator is None:
        activation = "tanh" if output_activation == "auto" else output_activation
        return identity, _activation(latent.shape, activation)
    if insert == "bottom":
        return identity, generator
    if output_activation == "auto":
        return split(generator, insert)
    shape = _checks.output_shape(generator, latent.shape)[1:]
    return generator, _activation(shape, output_activation)


def _activation(shape, activation):
    return keras.Sequential([keras.layers.Input(shape), keras.layers.Activation(activation)])
