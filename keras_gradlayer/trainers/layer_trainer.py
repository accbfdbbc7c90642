"""A trainer whose generator grows by gradient layers: the loop's moves, and its particles."""

import logging
from collections.abc import Mapping, MutableMapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer._conditions import call, draw, pair, unpair
from keras_gradlayer.trainers.adversarial_trainer import AdversarialTrainer
from keras_gradlayer.trainers.averaging import averages, reset_averages
from keras_gradlayer.trainers.particles import STORED, Particles, check_workers, lost

_log = logging.getLogger(__name__)
_FAR = 1e3  # times the data: where samples cannot have come by training
_SHORTER = "Take a smaller step_size, or 'auto', which halves it where it is too long."
_MOST_BYTES = 2**30  # of the particles that "auto" carries


class LayerTrainer(AdversarialTrainer):
    """Moves by stacking a gradient layer; `FineTuner` says of what the generator is made.

    Subclasses set `flow` (a live `Sampler`), `rule` (a `StepRule`), and what `FineTuner` takes as
    `particles`, `particle_dtype` and `refresh`.
    """

    move_logs = ("flow_norm",)
    compiled_move = False  # its parts are compiled, not the whole

    carried: Particles | None = None
    """The particles, drawn when the first fit tells how many."""

    _stored: Mapping = {}  # those of a file, until then
    _started = None  # the step rule that is ready

    @property
    def default_critic_steps(self) -> int:
        """One pass over the data."""
        if self.loop.epoch_steps is None:
            raise ValueError(
                "A layer is stacked after each pass over the data, but the length of this data is "
                "not known. Pass `steps_per_epoch` to fit, or kgl.callbacks.CriticInnerLoop(steps)."
            )
        return self.loop.epoch_steps

    def fit(
        self,
        x: ArrayLike | tf.data.Dataset | None = None,
        condition: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: list[keras.callbacks.Callback] | None = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        **unknown,
    ) -> keras.callbacks.History:
        """Add gradient layers, by default one an epoch; see `AdversarialTrainer.fit`.

        Training ends early, and says so, when `max_layers` are stacked.

        Raises:
            ValueError: as there, and if all `max_layers` are already stacked.
        """
        left = epochs > initial_epoch
        if left and self.stack.depth >= (room := self.stack.max_layers):
            raise ValueError(
                f"All max_layers={room} layers are stacked. Expected room for another: make "
                "a FineTuner with a larger `max_layers`, and take the layers over by "
                "`save_weights` and `load_weights`."
            )
        self._filled = False
        given = x, condition, batch_size, epochs, verbose, callbacks, shuffle
        history = super().fit(*given, initial_epoch, steps_per_epoch, **unknown)
        steps = self.loop.epoch_steps
        if (
            self._filled
            and history.epoch
            and (history.epoch[-1] + 1 < epochs or not steps or self.loop.epoch_updates < steps)
        ):
            _log.warning(
                "All max_layers=%d layers are stacked: training stopped in epoch %d of %d.",
                self.stack.max_layers,
                history.epoch[-1] + 1,
                epochs,
            )
        return history

    def generate(
        self, n: int | tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        """`n` samples for the critic: fresh ones, or the next of the particles."""
        if self.carried is None:
            self.log(replays=tf.cast(self.stack.layer_count, "float32"))
            z = self._fresh(n, condition)
        else:
            z, condition = self.carried.take(n)
        return pair(call(self.head, z, condition, training=False), condition)

    def begin(self, real: tf.Tensor) -> dict | None:
        """Get the step rule ready, and try a layer with the untrained critic if it says so."""
        self._start_rule()
        untrained = not self.stack.depth and not self.critic_optimizer.iterations.numpy()
        if untrained and self.rule.follows_untrained:
            return self.move(real)
        return None

    def _start_rule(self):
        self.rule.start(self)
        self._started = self.rule

    def move(self, real: tf.Tensor) -> dict:
        """Stack the critic as it is now: the particles move along it, and the history grows.

        A step rule may have the same critic followed by several layers, or by none.
        """
        optimizer = self.critic_optimizer
        if not (averages(optimizer) and optimizer.iterations.numpy()):
            return self._stack_layers(real)
        variables = self.critic.trainable_variables
        own = [tf.identity(v) for v in variables]
        optimizer.finalize_variable_values(variables)
        try:
            return self._stack_layers(real)
        finally:
            for v, value in zip(variables, own):
                v.assign(value)

    def _stack_layers(self, real):
        if self._started is not self.rule:  # set since
            self._start_rule()
        if bad := [v.path for v in self.critic.variables if not np.isfinite(v.numpy()).all()]:
            named = f"NaN or infinity in {', '.join(bad)}"
            raise self._not_finite(f"weights are not finite ({named})", real)
        again = True
        while again:
            if self.stack.depth == self.stack.max_layers:  # or restored so
                self._filled = self.stop_training = True
                return self.get_metrics_result()
            step_size = self.rule.choose(self)
            logs = self._stack_layer(real, step_size) if step_size else self.get_metrics_result()
            self.after_move()
            again = self.rule.follows_on and not self.stop_training
        return logs

    def _stack_layer(self, real, step_size):
        particles, before = self.carried, None
        if particles is not None:
            before, particles.version = particles.version, None  # until the layer is stacked, too
        step = tf.constant(step_size, self.flow_dtype)
        logs, flow_norm, gone = self.loop.programs.move(real, step)
        if not np.isfinite(flow_norm):
            norm = f"squared flow norm {float(flow_norm)}"
            raise self._not_finite(f"gradient is not finite ({norm})", real)
        if gone:
            raise FloatingPointError(
                f"The step overflows: step_size={step_size:.4g} along a gradient of norm "
                f"{float(flow_norm) ** 0.5:.3g} takes {float(gone):.0%} of the samples out of what "
                f"float32 can square. {self._left()} {_SHORTER}"
            )
        self.stack.append(step_size=step_size)
        depth = self.stack.depth
        if particles is not None:
            particles.version = self.stack.fingerprint(depth - 1, before)
            if self.refresh:
                redrawn = round(self.refresh * particles.count)
                rows = ((depth - 1) * redrawn + np.arange(redrawn)) % particles.count
                particles.redraw(rows, self.seed_generator)
        if depth == self.stack.max_layers:
            self._filled = self.stop_training = True
        return {**logs, "layers": tf.constant(depth)}

    def _left(self):
        return f"The layer was not stacked, {self.stack.depth} layers remain."

    def _not_finite(self, what, real):
        """The error, with the reason that is found in the data, the samples, or neither."""
        parts = self.strategy.experimental_local_results(unpair(real)[0])
        x = np.concatenate([part.numpy() for part in parts])
        samples = unpair(self.flow(draw(self, 64, seed=0)))[0]
        reach = float(tf.reduce_max(tf.abs(samples)))
        bad = int(self.loop.bad_batches.numpy()) or int(not np.isfinite(x).all())
        if bad:
            why = f"{bad} batches of the data held NaN or infinite values. Give it finite samples."
        elif not reach <= _FAR * max(1.0, float(np.abs(x).max())):
            why = (
                f"The layers have moved samples as far as {reach:.3g}, and the data reach "
                f"{float(np.abs(x).max()):.3g}. {_SHORTER}"
            )
        else:
            why = (
                "The data are finite, and samples reach no further than they: the critic diverged. "
                "Take a smaller learning rate, or hold it by kgl.callbacks.GradientPenalty."
            )
        return FloatingPointError(f"The critic's {what}. {self._left()} {why}")

    def generator_move(  # type: ignore[override]  # which `move` calls here
        self, real: tf.Tensor, step_size: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Move the particles, if any, along the present critic.

        Returns:
            Logs, the squared flow norm, and the fraction of the samples that the step loses.
        """

        def follow(z, condition):
            return self.stack.follow(z, step_size=step_size, condition=condition)

        if self.carried is not None:
            flow_norm, gone = self.carried.move(follow)
        else:
            real, condition = unpair(real)
            z = self._fresh(real.shape[0] or tf.shape(real)[0], condition)
            moved, gradient = follow(z, condition)
            gone = tf.reduce_mean(lost(moved))
            flow_norm = tf.reduce_sum(tf.square(gradient)) / tf.cast(tf.shape(z)[0], z.dtype)
        self.log(flow_norm=flow_norm)
        return self.get_metrics_result(), flow_norm, gone

    def rollback(self, depth: int) -> None:
        """Drop the layers above `depth`, and train on from the critic of the last that is left.

        Where none is left the critic stays as it is. Averages of its weights (`use_ema`) begin with
        it anew; the optimizer keeps its moments.

        Raises:
            ValueError: if there are not that many layers.
        """
        self.stack.truncate(depth)
        if depth:
            self.stack.restore(depth - 1)
            optimizer = getattr(self, "critic_optimizer", None)  # none before `compile`
            if optimizer is not None and averages(optimizer):
                reset_averages(optimizer, self.critic.trainable_variables)
        self.loop.ready = False

    # ---- particles --------------------------------------------------------------------------

    def prepare(self, batch_size: int) -> None:
        """Have the particles where the flow is: drawn, replayed, or as they are."""
        check_workers(self.strategy, self.stack.depth)
        if self.particles is None:
            return
        auto = self.particles == "auto"
        most = max(1, _MOST_BYTES // (batch_size * self.particle_bytes()))
        batches = min(self.loop.critic_steps, most)
        count = batches * batch_size if auto else self.particles
        if self.carried is None or self.carried.count != count:
            compiled = None if self.run_eagerly else self.jit_compile
            self.carried = Particles(
                self.flow, count, batch_size, self.strategy, self.particle_dtype, compiled
            )
            self.carried.load(self._stored)
            self._stored = {}
        self.carried.settle(self.flow.fingerprint(), self.seed_generator)

    def particle_bytes(self) -> int:
        """The size of a particle, in float32."""
        z = pair(keras.KerasTensor((None, *self.latent.shape)), self.condition_spec)
        return 4 * int(np.prod(self.flow.positions(z).shape[1:]))

    def trace_key(self) -> tuple:
        """As every trainer's, and the particles that the programs use."""
        return (*super().trace_key(), self.carried)

    def _fresh(self, n, condition):
        """`n` new samples, replayed through all layers, before the head."""
        z = self.latent.sample(n, self.seed_generator)
        return self.flow.positions(pair(z, condition))

    # ---- state ------------------------------------------------------------------------------

    def set_weights(self, weights: list[ArrayLike]) -> None:
        """Set all weights; particles are replayed through the layers that come with them."""
        super().set_weights(weights)
        self.loop.ready = False

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save the particles with where the loop stands."""
        super().save_own_variables(store)
        if self.carried is None:
            for name, value in self._stored.items():
                store[name] = value
        else:
            self.carried.save(store)

    def load_own_variables(self, store: Mapping) -> None:
        """Load where the loop stood, and the particles."""
        super().load_own_variables(store)
        self._stored = {name: np.asarray(store[name]) for name in STORED if name in store}
        if self.carried is not None:
            self.carried.load(self._stored)
        self.loop.ready = False

    def get_metrics_result(self) -> dict:
        """The means, and the depth reached."""
        return {**super().get_metrics_result(), "layers": tf.identity(self.stack.layer_count)}
