"""Samples that are carried through the flow instead of being replayed from their latents."""

import numpy as np
import tensorflow as tf


def chunk_rows(shape):
    """Rows to move at a time: 512 images of CIFAR-10, or as many values of other samples."""
    return int(np.clip(512 * 3072 // np.prod(shape), 1, 512))


class Particles:
    """Positions in the space of the gradient layers, used in turn and moved together.

    Args:
        count: how many.
        shape: shape of one position.
        chunk: rows to move at a time.
    """

    def __init__(self, count, shape, chunk):
        self.count, self.chunk = count, chunk
        self.depth = -1  # layers they have gone through; below 0 where they stand nowhere
        self.positions = tf.Variable(tf.zeros((count, *shape)), trainable=False)
        self._next = tf.Variable(0, trainable=False)

    def take(self, n):
        """The next `n`, going round."""
        rows = (self._next + tf.range(n)) % self.count
        self._next.assign((self._next + n) % self.count)
        return tf.gather(self.positions, rows)

    def move(self, step):
        """Replace every z by `step(z)`; the mean of ‖step(z) − z‖²."""

        def move_rows(start, size, total):
            rows = start + tf.range(size)
            z = tf.gather(self.positions, rows)
            moved = step(z)
            self.positions.scatter_update(tf.IndexedSlices(moved, rows))
            return total + tf.reduce_sum(tf.square(moved - z))

        chunk = min(self.chunk, self.count)
        _, total = tf.while_loop(
            lambda i, _: i < self.count // chunk,
            lambda i, total: (i + 1, move_rows(i * chunk, chunk, total)),
            (0, 0.0),
        )
        rest = self.count % chunk
        if rest:
            total = move_rows(self.count - rest, rest, total)
        return total / self.count

    def redraw(self, rows, draw):
        """Put new positions in these rows; `draw()` gives `chunk` of them."""
        for start in range(0, len(rows), self.chunk):
            part = rows[start : start + self.chunk]
            self.positions.scatter_update(tf.IndexedSlices(draw()[: len(part)], part))

    def save(self, store):
        """Write positions and turn to a dict of arrays."""
        store["particles"] = self.positions.numpy()
        store["next_particle"] = self._next.numpy()
        store["particle_depth"] = self.depth

    @classmethod
    def load(cls, store, chunk):
        """The particles that `save` wrote, or `None`."""
        if "particles" not in store:
            return None
        positions = np.asarray(store["particles"])
        particles = cls(len(positions), positions.shape[1:], chunk)
        particles.positions.assign(positions)
        particles._next.assign(np.asarray(store["next_particle"]))
        particles.depth = int(np.asarray(store["particle_depth"]))
        return particles
