"""A Keras model whose `fit` alternates critic updates with generator moves."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks, _replicas, _xla
from keras_gradlayer._conditions import unpair
from keras_gradlayer._programs import program
from keras_gradlayer.models.output_range import range_mismatch
from keras_gradlayer.trainers import _data, _loop
from keras_gradlayer.trainers._feed import Feed, grouped
from keras_gradlayer.trainers._optimizers import (
    check_callbacks,
    check_together,
    is_held,
    make_optimizer,
)
from keras_gradlayer.trainers._restored import Restored
from keras_gradlayer.trainers.adversarial_model import AdversarialModel, Sides
from keras_gradlayer.trainers.averaging import Averaging

_NOT_TAKEN = {
    "validation_data": "there is no loss on held-out pairs. Score samples with "
    "kgl.callbacks.Scores, or watch the critic with kgl.callbacks.FlowMonitor(validation_data)",
    "loss": "the objective is the loss: GAN(..., objective=...)",
    "metrics": "samples are scored with kgl.callbacks.Scores",
    "sample_weight": "all samples count alike. Draw more often those that shall count more",
    "class_weight": "all samples count alike. Draw more often those that shall count more",
    "optimizer": "each part has an optimizer of its own: critic_optimizer, and for a GAN "
    "generator_optimizer",
}


class AdversarialTrainer(AdversarialModel):
    """A Keras model whose `fit` alternates critic updates with generator moves.

    One batch of data is one critic update. After `critic_steps` of them the generator moves once,
    wherever epochs fall. The loop itself is in `_loop.py`, and where it stands in `self.loop`.
    """

    # ---- compile ----------------------------------------------------------------------------

    def compile(
        self,
        *positional,
        critic_optimizer: str | keras.optimizers.Optimizer | None = None,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
        **unknown,
    ) -> None:
        """Choose the optimizer and how the steps are compiled.

        Args:
            *positional: deprecated; name the optimizers.
            critic_optimizer: a Keras optimizer or its name; Adam(1e-4, beta_1=0.5, beta_2=0.9)
                by default.
            jit_compile: whether XLA compiles the steps; "auto" does so for models that it is
                known to speed up: dense networks, and on accelerators convolutional ones.
            run_eagerly: run the steps without compiling them, to debug.
            steps_per_execution: critic updates between two calls of the batch callbacks, in one
                program where the batches are of one shape. "auto" takes many where no callback
                watches batches, else one.
            **unknown: nothing else.

        Raises:
            TypeError: for other arguments of Keras' `compile`.
            ValueError: for arguments out of range, or where several replicas cannot train this way.
        """
        self._refuse("compile", unknown)
        if positional:
            (critic_optimizer,) = self._named("critic_optimizer", given=positional)
        self.compile_steps(jit_compile, run_eagerly, steps_per_execution)
        self.critic_optimizer = self._optimizer("critic", critic_optimizer)

    def _named(self, *names, given):
        """Optimizers that were given by position, one for each of these names."""
        name, expected = type(self).__name__, ", ".join(f"{n}=..." for n in names)
        if len(given) != len(names):
            raise TypeError(
                f"{name}.compile takes optimizers by name. Expected compile({expected}). "
                f"Received: {len(given)} without names"
            )
        _checks.warn(
            f"Name the optimizers: {name}.compile({expected}). The next release will refuse them "
            "by position.",
            DeprecationWarning,
        )
        return given

    def _refuse(self, method, unknown):
        for name in unknown:
            why = _NOT_TAKEN.get(name)
            raise TypeError(
                f"{type(self).__name__}.{method} does not take `{name}`"
                + (f": {why}. " if why else ". ")
                + f"Received: {name}={unknown[name]!r}"[:200]
            )

    def compile_steps(
        self,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
    ) -> None:
        """The part of `compile` that is not about optimizers."""
        _xla.check_jit(jit_compile)
        _checks.boolean("run_eagerly", run_eagerly)
        if steps_per_execution != "auto":
            _checks.positive_int("steps_per_execution", steps_per_execution)
        if self.replicas > 1 and not self.shares_batches:
            raise ValueError(
                f"{type(self).__name__} trains on one device: its steps are not sums over "
                f"samples. Received: a distribution strategy of {self.replicas} replicas"
            )
        if self.replicas > 1 and jit_compile is True:
            raise ValueError(
                "XLA takes no part in what replicas tell each other. Expected jit_compile=False or "
                f"'auto' with {self.replicas} replicas. Received: jit_compile=True"
            )
        if tf.distribute.get_strategy() is not self.strategy:
            raise ValueError(
                f"Compile a {type(self).__name__} under the distribution strategy that it was made "
                f"under, in `with strategy.scope()`. Expected: {self.strategy}. "
                f"Received: {tf.distribute.get_strategy()}"
            )
        self.jit_compile = False  # while Keras compiles
        super().compile(optimizer=None, jit_compile=False, run_eagerly=run_eagerly)
        auto = jit_compile == "auto" and not run_eagerly and self.replicas == 1
        self.jit_compile = None if auto else jit_compile is True and not run_eagerly
        self.loop.programs = None
        self.compile_settings = {
            "jit_compile": jit_compile,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
        }

    def _optimizer(self, part, optimizer):
        """The part's optimizer, built: the one it has already, if that is handed in again."""
        name = f"{part}_optimizer"
        if optimizer is not None and optimizer is getattr(self, name, None):
            return optimizer
        # The generator's loss goes through the critic, too.
        return make_optimizer(name, optimizer, getattr(self, part), self.critic)

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was called with, optimizers serialized."""
        if not self.compiled:
            return None
        optimizers = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("generator_optimizer", "critic_optimizer")
            if hasattr(self, name)
        }
        return {**optimizers, **self.compile_settings}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was; the optimizers' state is loaded afterwards."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    # ---- fit --------------------------------------------------------------------------------

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
        """Train on samples.

        Args:
            x: array of samples (n, *sample shape), float, or a `tf.data.Dataset` of batches of
                them, for a conditional GAN of (samples, conditions); the other components of a
                dataset's tuples are left out, with a warning.
            condition: for arrays and a conditional GAN, one for each sample: as the generator takes
                them, or integer classes.
            batch_size: for arrays, 32 by default. Samples that do not fill a batch are dropped.
            epochs: number of the epoch to stop after.
            verbose: 0 silent, 1 progress bar, 2 a line an epoch.
            callbacks: Keras callbacks, those of `kgl.callbacks` among them.
            shuffle: for arrays, shuffle at each epoch.
            initial_epoch: number of the epoch to start at.
            steps_per_epoch: batches in an epoch; a pass over the data by default. Data that is
                shorter is repeated, and so is data of unknown length.
            **unknown: `y`, another name of `condition`; nothing else.

        Returns:
            A Keras `History` of epoch means.

        Raises:
            TypeError: for other arguments of Keras' `fit`.
            ValueError: for data that is empty, not finite, not float, or of another shape than
                the critic takes, or callbacks that act on an optimizer that this trainer has not.
                All of an array is checked, but only the first batch of a dataset, which is read
                beforehand unless its length is unknown; Keras' `TerminateOnNaN` guards the rest.

        A run that `keras.callbacks.BackupAndRestore` brings back goes on at the same batch, and
        ends as one without a stop: for arrays and `kgl.data`, after `keras.utils.set_random_seed`,
        and for a dataset made anew that gives the same batches each time (`shuffle` with a `seed`)
        and has a known length or `steps_per_epoch`; bit for bit with TF_NUM_INTEROP_THREADS=1.
        """
        condition = unknown.pop("y", None) if condition is None else condition
        self._refuse("fit", unknown)
        if not self.compiled:
            raise ValueError(f"Call `compile` before `fit`: '{self.name}' is not compiled.")
        _checks.boolean("shuffle", shuffle)
        for name, number in (("epochs", epochs), ("initial_epoch", initial_epoch)):
            _checks.positive_int(name, number, zero_ok=True)
        if steps_per_epoch is not None:
            _checks.positive_int("steps_per_epoch", steps_per_epoch)
        ready = getattr(callbacks, "callbacks", ())  # of a CallbackList, which have joined already
        listed = keras.tree.flatten(ready or callbacks or ())
        check_callbacks(self, listed)
        data, seen = _data.as_dataset(x, condition, batch_size, shuffle, self.condition_spec)
        _data.check_shares(data, self.replicas)
        if seen is not None:
            self.check_samples(unpair(seen)[0])
            self.learn_conditions(data if isinstance(x, tf.data.Dataset) else seen)
        loop = self.loop
        loop.checked = seen is not None
        loop.epoch_steps = _data.epoch_steps(data, steps_per_epoch)
        loop.callbacks = [c for c in ready if hasattr(c, "trace_key")]
        data, group = grouped(self, data, listed)
        if loop.epoch_steps is not None:
            # Finite, since others than Keras may read all of it.
            steps = loop.epoch_steps * max(epochs - initial_epoch, 1) + loop.skip
            data = data.take(-(-steps // group))
            if group > 1:  # Keras would take the number of groups for that of batches
                data = data.filter(lambda *x: True)
        loop.new_run(Feed(group, self.strategy), fitting=True)
        loop.verbose = bool(verbose)
        joined = [Averaging(self), *listed, Restored(loop, initial_epoch)]
        if ready:
            ready[:] = joined
        try:
            history = super().fit(
                data,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks if ready else joined,
                shuffle=False,  # the data is shuffled already
                initial_epoch=initial_epoch,
                steps_per_epoch=loop.epoch_steps,
            )
        finally:
            self.steps_per_execution = 1  # which predict would take for its own
            loop.callbacks, loop.skip, loop.taken = [], 0, 0
            if ready:
                ready[:] = listed
        return history

    def learn_conditions(self, data: tf.data.Dataset | tuple[np.ndarray, np.ndarray]) -> None:
        """Take the conditions of data of (samples, conditions), unless some are known; `fit` does.

        They are what samples are drawn for where no condition is given. Of a dataset they are those
        of its first 16,384 rows, or 64 MB.
        """
        if self.condition_spec is None or self.conditions.known:
            return
        if isinstance(data, tf.data.Dataset):
            self.conditions.learn(_data.first_conditions(data, self.condition_spec))
        else:
            self.conditions.learn(data[1])

    def train_on_batch(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        *,
        return_dict: bool = False,
        **unknown,
    ) -> dict | list:
        """One critic update, and the generator's move if it is due; as Keras has it.

        The step callbacks that take part are those whose `set_model(trainer)` was called since the
        last `fit`. A conditional GAN keeps the conditions of the first batches, up to 4,096, to
        draw from where none is given.

        Args:
            x: array of samples (n, *sample shape), float.
            condition: for a conditional GAN, one for each sample, as for `fit`.
            return_dict: whether to return the means by name.
            **unknown: `y`, another name of `condition`; nothing else.

        Raises:
            TypeError: for other arguments of Keras' `train_on_batch`.
            ValueError: for samples and conditions that `fit` does not take.
        """
        condition = unknown.pop("y", None) if condition is None else condition
        self._refuse("train_on_batch", unknown)
        if not hasattr(x, "dtype"):
            x = _checks.array("x", x, "an array of samples")
        x, condition = unpair(_data.as_arrays(x, condition, self.condition_spec))
        self.check_shape(x)
        if condition is not None:
            self.conditions.learn_more(condition)
        self.loop.new_run(Feed(1, self.strategy), fitting=False)
        self.steps_per_execution = 1
        self.reset_metrics()  # which Keras 3.13 leaves to go on
        return super().train_on_batch(x, condition, return_dict=return_dict)

    def reset_metrics(self) -> None:
        """Begin an epoch, or go on with the one that an interrupted run began."""
        self.loop.epoch_updates, self.loop.taken = self.loop.taken, 0
        if not self.loop.epoch_updates:
            super().reset_metrics()

    def make_train_function(self, force: bool = False) -> None:
        """The host side of the loop; the steps are compiled programs."""
        self.check_callbacks()
        self.loop.critic_steps = self.critic_steps
        if force:
            self.loop.programs = None
        self.train_function = functools.partial(_loop.train, self)

    def evaluate(self, *args, **kwargs) -> None:
        """Not offered: a GAN has no loss on held-out pairs. Score samples with `kgl.metrics`."""
        raise NotImplementedError(
            f"{type(self).__name__} has nothing to evaluate against. Score samples from "
            "`predict(latents)` with `kgl.metrics`."
        )

    def check_samples(self, samples: np.ndarray) -> None:
        """Check samples of the data, and warn where they cannot be what is to be generated."""
        self.check_shape(samples)
        _data.check_finite(samples)
        low, high = float(np.min(samples)), float(np.max(samples))
        if said := range_mismatch(low, high, self.output_range()):
            _checks.warn(said)

    def check_shape(self, samples: np.ndarray) -> None:
        """Check the shape of samples of the data."""
        expected, received = self.sample_shape, tuple(samples.shape[1:])
        if received != expected:
            raise ValueError(
                f"Samples must have the shape the critic takes, {expected}. Received: {received}"
            )

    def join(self, callback: keras.callbacks.Callback) -> None:
        """Take a `StepCallback` into the compiled update; it calls this in `set_model`."""
        if callback not in self.loop.callbacks:
            self.loop.callbacks.append(callback)
            self.loop.ready = False

    @property
    def critic_steps(self) -> int:
        """Critic updates before each generator move."""
        steps = self.loop.inner_loops()
        if len(steps) > 1:
            raise ValueError(f"Expected one CriticInnerLoop. Received: {len(steps)}, of {steps}")
        return steps[0] if steps else self.default_critic_steps

    def check_callbacks(self) -> None:
        """Check that the step callbacks go together, and that they hold the critic."""
        check_together(self.loop.callbacks)
        if self.loop.fitting and self.objective.name == "wasserstein" and not is_held(self):
            _checks.warn(
                "Nothing holds the critic Lipschitz, so its scores can grow without bound. Pass "
                "callbacks=[kgl.callbacks.GradientPenalty()] to fit, as callbacks are not saved "
                "with a model; or use WeightClipping, or layers with spectral normalization."
            )

    def trace_key(self) -> tuple:
        """Equal for two fits only if they trace the same programs."""
        return (
            self.run_eagerly,
            self.jit_compile,
            _loop.moves_in_program(self),
            *(c.trace_key() for c in self.loop.callbacks),
        )

    def program(self, step: Callable) -> Callable:
        """A function of tensors, compiled as `compile` says."""
        if self.replicas > 1:
            step = functools.partial(_replicas.run, self.strategy, step)
        step = functools.partial(self._cleared, step)
        if self.run_eagerly:
            return step
        jit = self.jit_compile
        return program(step, jit_compile=jit, reduce_retracing=True)

    def _cleared(self, step, *args):
        """A step that leaves none of its tensors here: those of a graph are of no use outside."""
        try:
            return step(*args)
        finally:
            self.conditions_of = Sides()
