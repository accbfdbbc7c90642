"""The one adversarial loop: the critic takes some steps, then the generator moves once."""

from collections.abc import Mapping, MutableMapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks, _xla, objectives
from keras_gradlayer._piecewise import without_second_derivatives
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.trainers import _data
from keras_gradlayer.trainers._loop import Loop
from keras_gradlayer.trainers._optimizers import make_optimizer


class AdversarialTrainer(Loop):
    """A Keras model whose `fit` alternates critic updates with generator moves.

    One batch of data is one critic update. After `critic_steps` of them the generator moves once,
    wherever epochs fall. Subclasses say how samples are made (`generate`) and what a move is
    (`generator_move`); callbacks derived from `kgl.callbacks.StepCallback` add their terms to the
    compiled update.

    Args:
        critic: a Keras model, sample -> score.
        objective: name or instance of the objective.
        latent: the latent distribution.
        **kwargs: the arguments of every Keras model (`name`).
    """

    def __init__(
        self, critic: keras.Model, objective: str | objectives.Objective, latent: Latent, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)  # the parts have policies of their own
        if output_range(critic) == (0, 1):
            _checks.warn(
                "`critic` only gives scores between 0 and 1, as one that ends with a sigmoid does. "
                "Expected scores without bounds (logits): leave the sigmoid out."
            )
        self.critic = critic
        self.objective = objectives.get(objective)
        self.latent = latent
        self.seed_generator = keras.random.SeedGenerator()
        self._strategy = tf.distribute.get_strategy()
        self._step_callbacks = []
        self._updates = 0  # critic updates since the generator last moved
        self._epoch_steps = None
        self._traced = None
        self._means = {
            name: keras.metrics.Mean(name=name)
            for name in ("critic_loss", "wasserstein", "penalty", *self.move_logs)
        }

    move_logs = ()
    """Names of what `generator_move` logs."""

    # ---- what subclasses define -------------------------------------------------------------

    def generate(self, n: int | tf.Tensor) -> tf.Tensor:
        """`n` samples to show the critic."""
        raise NotImplementedError

    def generator_move(self, real: tf.Tensor) -> dict:
        """Move the generator once; `real` is the last batch the critic saw."""
        raise NotImplementedError

    @property
    def default_critic_steps(self) -> int:
        """Critic updates before each move where no callback says how many."""
        return 1

    def output_range(self) -> tuple[float, float]:
        """The least and largest value of a sample."""
        raise NotImplementedError

    def prepare(self, batch_size: int) -> None:
        """Make what the updates of a fit need beyond the models; called before the first."""

    # ---- compile ----------------------------------------------------------------------------

    def compile(
        self,
        critic_optimizer: str | keras.optimizers.Optimizer | None = None,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int | str = "auto",
    ) -> None:
        """Choose the optimizer and how the steps are compiled.

        Args:
            critic_optimizer: a Keras optimizer or its name; Adam(1e-4, beta_1=0.5, beta_2=0.9)
                by default.
            jit_compile: whether the steps are compiled by XLA; "auto" does so where a short trial
                on these models and this device says that it is faster.
            run_eagerly: run the steps without compiling them, to debug.
            steps_per_execution: critic updates between two calls of the batch callbacks, in one
                program where the batches are of one shape. "auto" takes many where no callback
                watches batches, else one.
        """
        self._compile_steps(jit_compile, run_eagerly, steps_per_execution)
        self.critic_optimizer = self._optimizer("critic", critic_optimizer)

    def _compile_steps(self, jit_compile="auto", run_eagerly=False, steps_per_execution="auto"):
        _xla.check_jit(jit_compile)
        if steps_per_execution != "auto":
            _checks.positive_int("steps_per_execution", steps_per_execution)
        if self._replicas > 1 and not self.shares_batches:
            raise ValueError(
                f"{type(self).__name__} trains on one device: its steps are not sums over "
                f"samples. Received: a distribution strategy of {self._replicas} replicas"
            )
        if tf.distribute.get_strategy() is not self._strategy:
            raise ValueError(
                f"Compile a {type(self).__name__} under the distribution strategy that it was made "
                f"under, in `with strategy.scope()`. Expected: {self._strategy}. "
                f"Received: {tf.distribute.get_strategy()}"
            )
        self._jit = False  # settled while Keras compiles, which looks at it
        super().compile(optimizer=None, jit_compile=False, run_eagerly=run_eagerly)
        if not run_eagerly:
            self._jit = None if jit_compile == "auto" else jit_compile
        self._compile_settings = {
            "jit_compile": jit_compile,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
        }

    def _optimizer(self, part, optimizer):
        """The part's optimizer, built: the one it has already, if that is handed in again."""
        name = f"{part}_optimizer"
        if optimizer is not None and optimizer is getattr(self, name, None):
            return optimizer
        return make_optimizer(name, optimizer, getattr(self, part))

    def get_compile_config(self) -> dict | None:
        """What `compile` was called with, optimizers serialized."""
        if not self.compiled:
            return None
        optimizers = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("generator_optimizer", "critic_optimizer")
            if hasattr(self, name)
        }
        return {**optimizers, **self._compile_settings}

    def compile_from_config(self, config: dict) -> None:
        """Compile as the saved model was; the optimizers' state is loaded afterwards."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    # ---- fit --------------------------------------------------------------------------------

    def fit(
        self,
        x: ArrayLike | tf.data.Dataset | None = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: list[keras.callbacks.Callback] | None = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
    ) -> keras.callbacks.History:
        """Train on samples.

        Args:
            x: array of samples (n, *sample shape), float, or a `tf.data.Dataset` of batches of
                them; the other components of a dataset's tuples are left out, with a warning.
            y: not used.
            batch_size: for arrays, 32 by default. Samples that do not fill a batch are dropped.
            epochs: number of the epoch to stop after.
            verbose: 0 silent, 1 progress bar, 2 a line an epoch.
            callbacks: Keras callbacks, those of `kgl.callbacks` among them.
            shuffle: for arrays, shuffle at each epoch.
            initial_epoch: number of the epoch to start at.
            steps_per_epoch: batches in an epoch; a pass over the data by default. Data that is
                shorter is gone through again, and so is data of unknown length.

        Returns:
            A Keras `History` of epoch means.

        Raises:
            ValueError: for data that is empty, not finite, not float, or of another shape than
                the critic takes. All of an array is looked at, but only the first batch of a
                dataset; `keras.callbacks.TerminateOnNaN` guards against the others.
        """
        self._assert_compile_called("fit")
        for name, number in (("epochs", epochs), ("initial_epoch", initial_epoch)):
            _checks.positive_int(name, number, zero_ok=True)
        if steps_per_epoch is not None:
            _checks.positive_int("steps_per_epoch", steps_per_epoch)
        data, seen = _data.as_dataset(x, y, batch_size, shuffle)
        self._check_samples(seen)
        self._epoch_steps = _data.epoch_steps(data, steps_per_epoch)
        # Callbacks join in `set_model`, which those of a ready CallbackList have had already.
        ready = getattr(callbacks, "callbacks", ())
        self._step_callbacks = [c for c in ready if hasattr(c, "trace_key")]
        _data.check_shares(data, self._replicas)
        self._new_fit = True
        data, steps_per_epoch = self._feed_from(data, steps_per_epoch, ready or callbacks)
        try:
            history = super().fit(
                data,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                shuffle=False,  # the data is shuffled already
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
            )
        finally:
            self.steps_per_execution = 1  # which predict would take for its own
        for part in ("generator", "critic"):
            optimizer = getattr(self, f"{part}_optimizer", None)
            if optimizer is not None and optimizer is not self.optimizer:
                optimizer.finalize_variable_values(getattr(self, part).trainable_variables)
        return history

    def evaluate(self, *args, **kwargs) -> None:
        """Not offered: a GAN has no loss on held-out pairs. Score samples with `kgl.metrics`."""
        raise NotImplementedError(
            f"{type(self).__name__} has nothing to evaluate against. Score samples from "
            "`predict(latents)` with `kgl.metrics`."
        )

    def _check_samples(self, samples):
        expected, received = self.sample_shape, tuple(samples.shape[1:])
        if received != expected:
            raise ValueError(
                f"Samples must have the shape the critic takes, {expected}. Received: {received}"
            )
        _data.warn_outside(samples, self.output_range())

    def join(self, callback: keras.callbacks.Callback) -> None:
        """Take a `StepCallback` into the compiled update; it calls this in `set_model`."""
        if callback not in self._step_callbacks:
            self._step_callbacks.append(callback)

    @property
    def critic_steps(self) -> int:
        """Critic updates before each generator move."""
        steps = self._inner_loops()
        if len(steps) > 1:
            raise ValueError(f"Expected one CriticInnerLoop. Received: {len(steps)}, of {steps}")
        return steps[0] if steps else self.default_critic_steps

    def _inner_loops(self):
        return [c.critic_steps for c in self._step_callbacks if c.critic_steps is not None]

    def _check_callbacks(self):
        for a in self._step_callbacks:
            for b in self._step_callbacks:
                if any(cls.__name__ in a.excludes for cls in type(b).__mro__):
                    raise ValueError(
                        f"{type(a).__name__} and {type(b).__name__} do the same in different ways. "
                        "Expected one of them. Received: both"
                    )
        makers = [type(c).__name__ for c in self._step_callbacks if c.generates]
        if len(makers) > 1:
            raise ValueError(
                f"Expected one callback that makes the samples. Received: {', '.join(makers)}"
            )

    # ---- the compiled steps -----------------------------------------------------------------

    def critic_update(self, real: tf.Tensor) -> dict:
        """One step of the critic up V − R."""
        real = tf.cast(real, "float32")
        fake = tf.cast(self.generate(real.shape[0] or tf.shape(real)[0]), "float32")
        real, fake = self._critic_inputs(real), self._critic_inputs(tf.stop_gradient(fake))
        with tf.GradientTape() as tape:
            real_scores, fake_scores = self.scores(real), self.scores(fake)
            value = self.objective.value(real_scores, fake_scores)
            penalty = self._terms("critic_loss", self.critic, real, fake)
            loss = penalty - value
            scaled = self.critic_optimizer.scale_loss(loss / self._replicas)
        variables = self.critic.trainable_variables
        self.critic_optimizer.apply(tape.gradient(scaled, variables), variables)
        for callback in self._step_callbacks:
            callback.after_critic_update()
        self._log(
            critic_loss=loss + self._alarm(real),
            wasserstein=tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores),
            penalty=penalty,
        )
        return self.get_metrics_result()

    def scores(self, x: tf.Tensor) -> tf.Tensor:
        """The critic's scores in training mode, at least in float32."""
        with without_second_derivatives(self.critic):
            return tf.cast(self.critic(x, training=True), "float32")

    def _critic_inputs(self, x):
        for callback in self._step_callbacks:
            x = callback.critic_inputs(x)
        return x

    def _terms(self, name, model, real, fake):
        """What callbacks and the regularizers of a model's weights add to its loss."""
        terms = [getattr(c, name)(real, fake) for c in self._step_callbacks]
        terms += [v.regularizer(v) for v in model.trainable_variables if v.regularizer]
        return tf.add_n([tf.constant(0.0), *(t for t in terms if t is not None)])

    @staticmethod
    def _alarm(real):
        """NaN where the data are not finite, else 0: a ReLU may make a 0 of a NaN."""
        return tf.where(tf.reduce_all(tf.math.is_finite(real)), 0.0, np.nan)

    def _log(self, **values):
        for name, value in values.items():
            self._means[name].update_state(value)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that `fit` logs."""
        return list(self._means.values())

    def get_metrics_result(self) -> dict:
        """The means; `loss` is the critic's, under the name that Keras' callbacks look for."""
        means = super().get_metrics_result()
        return {"loss": means["critic_loss"], **means}

    # ---- state ------------------------------------------------------------------------------

    def _seed_states(self):
        # Keras keeps the state of seed generators out of the weights it saves.
        weights = {id(w) for w in self.weights}
        return [v for v in self.variables if id(v) not in weights]

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save where the loop and its random streams stand."""
        store["updates"] = self._updates
        for i, state in enumerate(self._seed_states()):
            store[f"seed_{i}"] = state.numpy()

    def load_own_variables(self, store: Mapping) -> None:
        """Load where the loop and its random streams stood."""
        self._updates = int(store["updates"][()])
        for i, state in enumerate(self._seed_states()):
            state.assign(store[f"seed_{i}"][()])
