"""Samples that are carried through the flow instead of being replayed from their latents."""

import numpy as np
import tensorflow as tf

from keras_gradlayer import _replicas

STORED = ("particles", "particle_seeds", "next_particle", "particle_depth")


def replay(latent, flow, jit_compile):
    """A program that takes seeds to the positions that their latents lead to."""
    # XLA would draw other numbers, and not on every device the same.
    sample = tf.function(latent.sample_rows, autograph=False)
    flow = tf.function(flow, jit_compile=jit_compile, autograph=False)
    return lambda seeds: flow(sample(tf.constant(seeds)))


class Particles:
    """Positions in the space of the gradient layers, used in turn and moved together.

    Each particle is the flow of a latent that follows from a seed of its own. Several replicas have
    a share each, such that their parts of a batch are, together and in order, the batch that one
    device would take.

    Args:
        count: how many.
        shape: shape of one position.
        chunk: rows to move at a time.
        batch_size: samples in a batch, over all replicas.
        strategy: the distribution strategy; by default one device.
        dtype: what they are kept in; all is computed in float32.
    """

    def __init__(self, count, shape, chunk, batch_size=1, strategy=None, dtype="float32"):
        self.count, self.chunk, self._dtype = count, chunk, dtype
        self.depth = None  # layers they have gone through; -1 where they have to be replayed
        self.seeds = np.zeros(count, "int64")
        strategy = strategy or tf.distribute.get_strategy()
        replicas = strategy.num_replicas_in_sync
        if replicas > 1 and count % batch_size:
            raise ValueError(
                f"{replicas} replicas share the particles batch by batch. Expected a multiple of "
                f"the batch size, {batch_size}. Received: particles={count}"
            )
        batch = batch_size if replicas > 1 else count
        turns = np.arange(count).reshape(-1, replicas, batch // replicas)
        self.shares, self._positions, self._next = [], [], []
        for replica, device in _replicas.here(strategy):
            share = turns[:, replica].ravel()
            with tf.device(device):
                zeros = tf.zeros((len(share), *shape), dtype)
                self._positions.append(tf.Variable(zeros, trainable=False))
                self._next.append(tf.Variable(0, trainable=False))
            self.shares.append(share)

    @property
    def positions(self):
        """Where those of this replica stand."""
        return self._positions[self._here()]

    def _here(self):
        if len(self._positions) == 1:
            return 0
        replica = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        return replica % len(self._positions)

    def take(self, n):
        """The next `n`, going round."""
        positions, turn = self.positions, self._next[self._here()]
        count = positions.shape[0]
        rows = (turn + tf.range(n)) % count
        turn.assign((turn + n) % count)
        return tf.cast(tf.gather(positions, rows), "float32")

    def move(self, step):
        """Replace every z by `step(z)`; the mean of ‖step(z) − z‖²."""
        positions = self.positions
        count = positions.shape[0]

        def move_rows(start, size, total):
            rows = start + tf.range(size)
            z = tf.cast(tf.gather(positions, rows), "float32")
            moved = step(z)
            positions.scatter_update(tf.IndexedSlices(tf.cast(moved, self._dtype), rows))
            return total + tf.reduce_sum(tf.square(moved - z))

        chunk = min(self.chunk, count)
        _, total = tf.while_loop(
            lambda i, _: i < count // chunk,
            lambda i, total: (i + 1, move_rows(i * chunk, chunk, total)),
            (0, 0.0),
        )
        rest = count % chunk
        if rest:
            total = move_rows(count - rest, rest, total)
        return total / count

    def redraw(self, rows, draw, seed):
        """Begin these particles anew.

        Args:
            rows: which of them, of all replicas.
            draw: seeds -> positions, for as many seeds as a chunk has.
            seed: 31 bits that the seeds of these particles follow from.
        """
        self.seeds[rows] = (int(seed) << 32) + np.arange(len(rows))
        self.place(rows, draw)

    def place(self, rows, draw):
        """Put these particles where their seeds lead to."""
        chosen = np.zeros(self.count, bool)
        chosen[rows] = True
        for positions, share in zip(self._positions, self.shares):
            local = np.flatnonzero(chosen[share])
            for start in range(0, len(local), self.chunk):
                part = local[start : start + self.chunk]
                seeds = np.resize(self.seeds[share[part]], self.chunk)
                drawn = tf.cast(draw(seeds)[: len(part)], self._dtype)
                positions.scatter_update(tf.IndexedSlices(drawn, part))

    def save(self, store):
        """Write positions and turn to a dict of arrays; of several replicas, the seeds alone."""
        if len(self.shares[0]) == self.count:
            store["particles"] = tf.cast(self._positions[0], "float32").numpy()
        store["particle_seeds"] = self.seeds
        store["next_particle"] = self._next[0].numpy() * (self.count // len(self.shares[0]))
        store["particle_depth"] = -1 if self.depth is None else self.depth

    def load(self, store):
        """Take up what `save` wrote, if it is that of as many particles."""
        if len(store.get("particle_seeds", ())) != self.count:
            return
        self.seeds = np.asarray(store["particle_seeds"])
        for turn in self._next:
            turn.assign(np.asarray(store["next_particle"]) * len(self.shares[0]) // self.count)
        whole = "particles" in store and len(self.shares[0]) == self.count
        if whole:
            self._positions[0].assign(tf.cast(store["particles"], self._dtype))
        self.depth = int(np.asarray(store["particle_depth"])) if whole else -1
