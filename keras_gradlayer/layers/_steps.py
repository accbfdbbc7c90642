"""Steps along a gradient, with noise or without."""

import tensorflow as tf
from keras import ops

from keras_gradlayer import _backend, _random


def follow(gradient, z, step_size, steps=1, temperature=0.0, seeds=None):
    """Take `steps` of z + η ∇ + sqrt(2ηγ) ξ, with a standard normal ξ of each row's own.

    Args:
        gradient: callable, (batch, ...) -> (batch, ...).
        z: tensor of shape (batch, ...).
        step_size: η.
        steps: how many.
        temperature: γ.
        seeds: integers of shape (batch,); by default made of the entries of `z`.

    Returns:
        Where they lead, and the gradient at `z`.
    """
    seeds = _random.row_seeds(z) if temperature and seeds is None else seeds
    step_size = ops.cast(step_size, z.dtype)

    def step(i, z, gradient):
        z = z + step_size * gradient  # PyTorch's += would change the input
        if temperature:
            noise = _random.row_normal(_random.later_seeds(seeds, i), z)
            z = z + tf.sqrt(2 * temperature * step_size) * noise
        return z

    first = gradient(z)
    z = step(0, z, first)
    if steps > 1 and not _backend.is_tensorflow():
        for i in range(1, steps):
            z = step(i, z, gradient(z))
    elif steps > 1:
        _, z = tf.while_loop(
            lambda i, z: i < steps,
            lambda i, z: (i + 1, step(i, z, gradient(z))),
            (1, z),
            maximum_iterations=steps - 1,
        )
    return z, first
