"""Fixed latents, followed while the generator changes."""

import numpy as np
import tensorflow as tf

CHUNK = 250


class Followed:
    """The samples that fixed latents lead to, as the model is now.

    Through gradient layers the positions are carried along, one layer at a time, so that a look at
    depth k costs what the layers since the last look cost. No training sees these samples.

    Args:
        model: a trainer or sampler with a `latent`.
        count: how many latents.
        seed: integer that they follow from.
    """

    def __init__(self, model, count, seed):
        self.model = model
        self.latents = model.latent.sample(count, seed=seed)
        self._z, self._depth = None, 0

        def program(step):
            jit = getattr(model, "jit_compile", False)
            return tf.function(step, jit_compile=jit, reduce_retracing=True, autograph=False)

        if hasattr(model, "stack"):
            dtype = model.stack.variable_dtype  # half precision would measure its own rounding
            self._base = program(lambda z: tf.cast(model.base(z, training=False), dtype))
            self._advance = program(lambda z, first, last: model.stack(z, last, first))
            self._head = program(lambda z: tf.cast(model.head(z, training=False), "float32"))
        else:
            self._head = program(lambda z: tf.cast(model(z, training=False), "float32"))

    def positions(self, layers=None):
        """Chunks of positions after `layers` layers, in the space of the layers."""
        layers = self.model.stack.depth if layers is None else layers
        stack = self.model.stack
        stale = self._z is not None and stack.fingerprint(last=self._depth) != self._mark
        if self._z is None or layers < self._depth or stale:
            self._z, self._depth = [self._base(z) for z in _chunks(self.latents)], 0
        if layers > self._depth:
            ends = tf.constant(self._depth), tf.constant(layers)
            chunks, self._z = self._z, None  # an interruption leaves none half way
            for i, z in enumerate(chunks):  # in place: one copy, whatever the number
                chunks[i] = self._advance(z, *ends)
            self._z, self._depth = chunks, layers
        self._mark = stack.fingerprint(last=self._depth)
        return self._z

    def batches(self, layers=None):
        """Chunks of samples, as arrays, one at a time."""
        chunks = self.positions(layers) if hasattr(self.model, "stack") else _chunks(self.latents)
        for z in chunks:
            yield self._head(z).numpy()

    def samples(self):
        """All samples in one array."""
        return np.concatenate(list(self.batches()))


def _chunks(x):
    return [x[i : i + CHUNK] for i in range(0, len(x), CHUNK)]
