"""Fixed latents, followed while the generator changes."""

import functools

import numpy as np
import tensorflow as tf

from keras_gradlayer._conditions import call, draw, pair, rows, unpair
from keras_gradlayer._programs import program

CHUNK = 250


class Followed:
    """The samples that fixed latents lead to, as the model is now.

    Through gradient layers the positions are carried along, one layer at a time, so that a look at
    depth k costs what the layers since the last look cost. No training sees these samples.

    Args:
        model: a trainer or sampler with a `latent`.
        count: how many latents.
        seed: integer that they follow from.
        by_class: whether a conditional model's latents are as many of each class, in order, if
            there are few classes.
    """

    def __init__(self, model, count, seed, by_class=False):
        self.by_class = by_class
        self.model, self.seed, self.count = model, seed, count
        self._latents = self._z = None
        self._depth = self._mark = 0

        jit = getattr(model, "jit_compile", False)
        compiled = functools.partial(program, jit_compile=jit, reduce_retracing=True)

        if hasattr(model, "stack"):
            flow = getattr(model, "flow", model)
            dtype = model.stack.variable_dtype  # half precision would measure its own rounding
            self._base = compiled(
                lambda z, c: tf.cast(call(model.base, z, c, training=False), dtype)
            )
            self._advance = compiled(
                lambda z, c, first, last: model.stack(z, last, first, **flow.given(c))
            )
            self._head = compiled(
                lambda z, c: tf.cast(call(model.head, z, c, training=False), "float32")
            )
        else:
            self._head = compiled(
                lambda z, c: tf.cast(model(pair(z, c), training=False), "float32")
            )

    @property
    def latents(self):
        """What is followed: latents, or (latents, conditions), drawn when they are first needed."""
        if self._latents is None:
            classes = self._classes()
            count = self.count if classes is None else len(classes)
            self._latents = draw(self.model, count, self.seed, classes)
        return self._latents

    @property
    def rows(self):
        """How many rows a grid of the samples has, a row a class; `None` for a square one."""
        return len(self._values()) or None

    def _values(self):
        """The classes, in order, if there are few."""
        conditions = getattr(self.model, "conditions", None)
        few = self.by_class and conditions is not None and 0 < conditions.known <= self.count // 4
        return conditions.values.numpy()[: conditions.known] if few else ()

    def _classes(self):
        values = self._values()
        if not len(values):
            return None
        return np.repeat(values, self.count // len(values), axis=0)

    def reset(self):
        """Draw the latents anew when they are needed: the conditions of the data may be others."""
        self._latents = self._z = None

    def positions(self, layers=None):
        """Chunks of (positions, conditions) after `layers` layers, in the space of the layers."""
        layers = self.model.stack.depth if layers is None else layers
        stack, before = self.model.stack, self._depth
        stale = self._z is not None and stack.fingerprint(last=self._depth) != self._mark
        if self._z is None or layers < self._depth or stale:
            self._z, self._depth = [self._base(z, c) for z, c in _chunks(self.latents)], 0
            before, self._mark = 0, 0
        if layers > self._depth:
            ends = tf.constant(self._depth), tf.constant(layers)
            chunks, self._z = self._z, None  # an interruption leaves none half way
            for i, (_, c) in enumerate(_chunks(self.latents)):  # in place: one copy
                chunks[i] = self._advance(chunks[i], c, *ends)
            self._z, self._depth = chunks, layers
        self._mark = stack.fingerprint(before, self._mark, self._depth)
        return [(z, c) for z, (_, c) in zip(self._z, _chunks(self.latents))]

    def batches(self, layers=None):
        """Chunks of samples, as arrays, or of (samples, conditions), one at a time."""
        chunks = self.positions(layers) if hasattr(self.model, "stack") else _chunks(self.latents)
        for z, c in chunks:
            yield pair(self._head(z, c).numpy(), c)

    def samples(self):
        """All samples in one array."""
        return np.concatenate([unpair(batch)[0] for batch in self.batches()])


def _chunks(latents):
    z, _ = unpair(latents)
    return [unpair(rows(latents, i, i + CHUNK)) for i in range(0, len(z), CHUNK)]
