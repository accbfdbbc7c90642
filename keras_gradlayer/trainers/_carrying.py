"""The particles of a trainer whose generator grows by layers: drawn, replayed, saved."""

from collections.abc import Mapping, MutableMapping

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _replicas
from keras_gradlayer.trainers._particles import STORED, Particles, replay


class _Carrying:
    """For use beside `AdversarialTrainer`, by a trainer that has a stack of layers."""

    _particles = None  # drawn when the first fit tells how many
    _stored = {}  # those of a file, until then

    def prepare(self, batch_size: int) -> None:
        """Draw the particles, unless there are as many already."""
        super().prepare(batch_size)
        self._check_workers()
        if self.particles is None:
            return
        count = self.critic_steps * batch_size if self.particles == "auto" else self.particles
        if self._particles is None or self._particles.count != count:
            self._particles = Particles(
                count,
                self._flow_shape,
                self._chunk,
                batch_size,
                self._strategy,
                self.particle_dtype,
            )
            self._particles.load(self._stored)
            self._stored = {}
            self._traced = None  # programs made before know of other particles
        if self._particles.depth is None:
            self._redraw(np.arange(count))
        elif self._particles.depth != self.stack.depth:  # weights restored, layers dropped
            self._particles.place(np.arange(count), self._flow_of)
        self._particles.depth = self.stack.depth

    def _check_workers(self):
        """Check that all replicas stand at the same layer, before they wait for each other."""
        if self._replicas > 1:
            depth, where = self.stack.depth, tf.constant([float(self.stack.depth)])
            mean = _replicas.run(self._strategy, lambda: where)
            if abs(float(mean) - depth) > 1e-6:
                raise ValueError(
                    "All workers must go on from the same layer. Expected backups of one epoch. "
                    f"Received: {depth} layers here, {float(mean):g} on average"
                )

    def _redraw(self, rows):
        seed = keras.random.randint((), 0, 2**31 - 1, seed=self.seed_generator)
        self._particles.redraw(rows, self._flow_of, seed)

    def _flow_of(self, seeds):
        """Positions that the latents of some seeds lead to."""
        if self.run_eagerly:
            return self._flow(self.latent.sample_rows(seeds))
        if self._replay is None:
            self._replay = replay(self.latent, self._flow, self.jit_compile)
        return self._replay(seeds)

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save the particles with where the loop stands."""
        super().save_own_variables(store)
        if self._particles is None:
            for name, value in self._stored.items():
                store[name] = value
        else:
            self._particles.save(store)

    def load_own_variables(self, store: Mapping) -> None:
        """Load where the loop stood; the particles wait for the next fit."""
        super().load_own_variables(store)
        self._particles = None
        self._stored = {name: np.asarray(store[name]) for name in STORED if name in store}
