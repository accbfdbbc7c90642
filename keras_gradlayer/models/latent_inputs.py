"""Generators of several latent inputs, such as style and noise, as one of one latent vector."""

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer.models._graph import is_graph


def has_latents(generator: keras.Model) -> bool:
    """Whether it has several inputs that can all be normal latents: of floats and known shapes."""
    return (
        is_graph(generator)
        and len(generator.inputs) > 1
        and all(tf.as_dtype(x.dtype).is_floating for x in generator.inputs)
        and all(None not in x.shape[1:] for x in generator.inputs)
    )


def one_latent(generator: keras.Model) -> keras.Model:
    """A generator of one latent vector, which is cut up into the generator's several inputs.

    The vector holds the inputs' entries in the order of `generator.inputs`. The layers are the
    generator's own, and keep their names.
    """
    sizes = [int(np.prod(x.shape[1:])) for x in generator.inputs]
    z = keras.Input((sum(sizes),), name="latents")
    parts = keras.ops.split(z, np.cumsum(sizes[:-1]).tolist(), axis=-1)
    given = [
        keras.ops.cast(keras.layers.Reshape(x.shape[1:])(part), x.dtype)
        for x, part in zip(generator.inputs, parts)
    ]
    inputs = keras.tree.pack_sequence_as(generator.input, given)
    return keras.Model(z, generator(inputs), name=generator.name)
