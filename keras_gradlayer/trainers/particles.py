"""Samples that are carried through the flow instead of being replayed from their latents."""

from collections.abc import Callable, Mapping, MutableMapping

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _replicas
from keras_gradlayer._chunking import chunk_rows
from keras_gradlayer._conditions import draw_rows, pair
from keras_gradlayer._programs import program
from keras_gradlayer.models.sampler import Sampler

_FAR = 1e18
STORED = ("particles", "particle_seeds", "next_particle", "particle_version")


class Particles:
    """Positions in the space of the gradient layers, used in turn and moved together.

    Each particle is the flow of a latent that follows from a seed of its own. Several replicas have
    a share each, such that their parts of a batch are, together and in order, the batch that one
    device would take.

    Args:
        flow: the sampler whose flow they are in.
        count: how many.
        batch_size: samples in a batch, over all replicas.
        strategy: the distribution strategy; by default one device.
        dtype: what they are kept in; by default that of the gradient layers, which moves are
            computed in.
        compiled: whether XLA compiles their replay, or `None` to run it eagerly.

    Attributes:
        version: the fingerprint of the flow whose layers they have moved through; `None` where
            they have to be drawn or replayed.
        seeds: int64 of shape (count,); empty before they are drawn.
    """

    def __init__(
        self,
        flow: Sampler,
        count: int,
        batch_size: int = 1,
        strategy: tf.distribute.Strategy | None = None,
        dtype: str | None = None,
        compiled: bool | None = False,
    ):
        self.flow, self.count = flow, count
        self.compute_dtype = flow.stack.variable_dtype
        self.dtype = dtype or self.compute_dtype
        self.version: int | None = None  # the fingerprint of the flow that they went through
        self.seeds = np.empty(0, "int64")  # none are drawn yet
        strategy = strategy or tf.distribute.get_strategy()
        replicas = strategy.num_replicas_in_sync
        if replicas > 1 and count % batch_size:
            raise ValueError(
                f"{replicas} replicas share the particles batch by batch. Expected a multiple of "
                f"the batch size, {batch_size}. Received: particles={count}"
            )
        batch = batch_size if replicas > 1 else count
        turns = np.arange(count).reshape(-1, replicas, batch // replicas)
        z = keras.KerasTensor((None, *flow.latent.shape))
        shape = flow.positions(pair(z, flow.condition_spec)).shape[1:]
        self.chunk = chunk_rows(max(shape, flow.sample_shape, key=np.prod))
        self._shares, self._positions, self._next, self._rows = [], [], [], []
        for replica, device in _replicas.here(strategy):
            share = turns[:, replica].ravel()
            with tf.device(device):
                zeros = tf.zeros((len(share), *shape), self.dtype)
                self._positions.append(tf.Variable(zeros, trainable=False))
                self._next.append(tf.Variable(0, trainable=False))
                if flow.conditions is not None:
                    rows = tf.zeros(len(share), "int64")
                    self._rows.append(tf.Variable(rows, trainable=False))
            self._shares.append(share)
        self._replay = _replay(flow, compiled)

    @property
    def positions(self) -> tf.Variable:
        """Where those of this replica stand."""
        return self._positions[self._here()]

    def _here(self):
        if len(self._positions) == 1:
            return 0
        replica = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        return replica % len(self._positions)

    def _conditions(self, rows):
        """The conditions of some of the particles, `None` where there are none."""
        if self.flow.conditions is None:
            return None
        values = self.flow.conditions.values.value
        return tf.gather(values, tf.gather(self._rows[self._here()], rows))

    def take(self, n: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The next `n`, in turn, and their conditions."""
        positions, turn = self.positions, self._next[self._here()]
        count = positions.shape[0]
        rows = (turn + tf.range(n)) % count
        turn.assign((turn + n) % count)
        return tf.cast(tf.gather(positions, rows), self.compute_dtype), self._conditions(rows)

    def move(self, step: Callable) -> tuple[tf.Tensor, tf.Tensor]:
        """Move all by `step`, (z, condition) -> (moved, gradient).

        Returns:
            The mean squared norm of the gradient, and the fraction of particles that were `lost`.
        """
        positions = self.positions
        count = positions.shape[0]

        def move_rows(start, size, norm, gone):
            rows = start + tf.range(size)
            z = tf.cast(tf.gather(positions, rows), self.compute_dtype)
            moved, gradient = step(z, self._conditions(rows))
            positions.scatter_update(tf.IndexedSlices(tf.cast(moved, self.dtype), rows))
            return norm + tf.reduce_sum(tf.square(gradient)), gone + tf.reduce_sum(lost(moved))

        chunk = min(self.chunk, count)
        zero = tf.zeros((), self.compute_dtype)
        _, norm, gone = tf.while_loop(
            lambda i, *_: i < count // chunk,
            lambda i, *sums: (i + 1, *move_rows(i * chunk, chunk, *sums)),
            (0, zero, zero),
        )
        rest = count % chunk
        if rest:
            norm, gone = move_rows(count - rest, rest, norm, gone)
        return norm / count, gone / count

    def settle(self, version: int, seed_generator: keras.random.SeedGenerator) -> None:
        """Draw them if that is still to be done, or replay them if the flow is another by now."""
        if not len(self.seeds):
            self.seeds = np.zeros(self.count, "int64")
            self.redraw(np.arange(self.count), seed_generator)
        elif self.version != version:
            self._place(np.arange(self.count))
        self.version = version

    def redraw(self, rows: np.ndarray, seed_generator: keras.random.SeedGenerator) -> None:
        """Begin some of them anew, from fresh latents."""
        seed = int(keras.random.randint((), 0, 2**31 - 1, seed=seed_generator))
        self.seeds[rows] = (seed << 32) + np.arange(len(rows))
        self._place(rows)

    def _place(self, rows):
        """Put these particles where their seeds lead to."""
        chosen = np.zeros(self.count, bool)
        chosen[rows] = True
        for i, (positions, share) in enumerate(zip(self._positions, self._shares)):
            local = np.flatnonzero(chosen[share])
            for start in range(0, len(local), self.chunk):
                part = local[start : start + self.chunk]
                seeds = np.resize(self.seeds[share[part]], self.chunk)
                drawn = tf.cast(self._replay(seeds)[: len(part)], self.dtype)
                positions.scatter_update(tf.IndexedSlices(drawn, part))
            self._settle_conditions(i)

    def _settle_conditions(self, i):
        """Give the particles of a replica the conditions that their seeds lead to."""
        if self._rows:
            self._rows[i].assign(self.flow.conditions.rows(self.seeds[self._shares[i]]))

    def save(self, store: MutableMapping) -> None:
        """Write positions and turn to a dict of arrays; of several replicas, the seeds alone."""
        if not len(self.seeds):
            return
        if len(self._shares[0]) == self.count:
            store["particles"] = tf.cast(self._positions[0], self.compute_dtype).numpy()
        store["particle_seeds"] = self.seeds
        store["next_particle"] = self._next[0].numpy() * (self.count // len(self._shares[0]))
        store["particle_version"] = -1 if self.version is None else self.version

    def load(self, store: Mapping) -> None:
        """Take up what `save` wrote, if it is of as many particles."""
        self.version = None
        if len(store.get("particle_seeds", ())) != self.count:
            return
        self.seeds = np.array(store["particle_seeds"])
        for turn in self._next:
            turn.assign(np.asarray(store["next_particle"]) * len(self._shares[0]) // self.count)
        if "particles" in store and len(self._shares[0]) == self.count:
            self._positions[0].assign(tf.cast(store["particles"], self.dtype))
            version = int(np.asarray(store.get("particle_version", -1)))
            self.version = None if version < 0 else version
            self._settle_conditions(0)


def lost(z: tf.Tensor) -> tf.Tensor:
    """For each row 1 if it lies where float32 can no longer square it, else 0."""
    reach = tf.reduce_max(tf.abs(z), axis=list(range(1, z.shape.rank)))
    return tf.cast(~(reach < _FAR), z.dtype)


def _replay(flow, compiled):
    """What takes seeds to the positions that their latents lead to."""
    if compiled is None:
        return lambda seeds: flow.positions(draw_rows(flow, seeds))
    # XLA would draw other numbers, and not on every device the same.
    sample = program(lambda seeds: draw_rows(flow, seeds))
    positions = program(flow.positions, jit_compile=compiled)
    return lambda seeds: positions(sample(tf.constant(seeds)))


def check_workers(strategy: tf.distribute.Strategy, depth: int) -> None:
    """Check that all replicas stand at the same layer, before they wait for each other."""
    if strategy.num_replicas_in_sync == 1:
        return
    mean = float(_replicas.run(strategy, lambda: {"depth": tf.constant([float(depth)])})["depth"])
    if abs(mean - depth) > 1e-6:
        raise ValueError(
            "All workers must continue from the same layer. Expected backups of one epoch. "
            f"Received: {depth} layers here, {mean:g} on average"
        )
