"""The host side of training: batches go to compiled programs, many at a time."""

import functools

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _replicas, _xla
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.trainers._feed import Feed, can_be_grouped, group_size, watches_batches


class Loop(_xla.MeasuresXLA, keras.Model):
    """A Keras model that `fit` drives by `critic_update` and, when it is due, `generator_move`.

    As many updates as possible are one program, with the moves between them. Subclasses define the
    two steps, `critic_steps` and what is said there.
    """

    compiled_move = True
    """Whether `generator_move` can be part of a compiled program."""

    shares_batches = True
    """Whether replicas that have a part of each batch can do what one device does."""

    _new_fit = False

    def _feed_from(self, data, steps_per_epoch, callbacks):
        """Group the data's batches as the steps are to be taken."""
        steps, groups = self._compile_settings["steps_per_execution"], 1
        can = not self.run_eagerly and self._replicas == 1 and can_be_grouped(data)
        if steps == "auto":
            watched = any(map(watches_batches, keras.tree.flatten(callbacks or ())))
            steps = 1
            if can and not watched:
                steps = group_size(data, self._epoch_steps)
        length = int(data.cardinality())
        unknown = length == tf.data.UNKNOWN_CARDINALITY and steps_per_epoch is not None
        if length > 0 or unknown:  # the same order, whichever way the steps are taken
            data, steps_per_epoch = data.repeat(), self._epoch_steps
        if can and steps > 1:
            groups = group_size(data, min(steps, self._epoch_steps))
            data = data.batch(groups, drop_remainder=True).prefetch(2)
        self.steps_per_execution = steps
        self._feed = Feed(groups, self._replicas)
        return data, steps_per_epoch

    def train_on_batch(self, *args, **kwargs) -> dict | list:
        """One critic update, and the generator's move if it is due; as Keras has it."""
        self._feed, self.steps_per_execution = Feed(1, self._replicas), 1
        self._epoch_updates = 0
        return super().train_on_batch(*args, **kwargs)

    def reset_metrics(self) -> None:
        """Begin an epoch."""
        super().reset_metrics()
        self._epoch_updates = 0

    def make_train_function(self, force: bool = False) -> None:
        """The host side of the loop; the update and the move are compiled programs."""
        critic_steps = self.critic_steps
        self._check_callbacks()
        settings = [c.trace_key() for c in self._step_callbacks]
        if self.train_function is None or settings != self._traced or force:
            self._traced = None
        self._move_in_program = (
            self.compiled_move
            and self._replicas == 1
            and not any(c.acts_between_moves for c in self._step_callbacks)
        )
        prepared = False

        def train_function(iterator):
            nonlocal prepared
            logs, left = None, self.steps_per_execution
            if self._epoch_steps is not None:
                left = min(left, self._epoch_steps - self._epoch_updates)
            while left > 0 and not (self.stop_training and logs is not None):
                try:
                    batches, start, end = self._feed.batches(iterator)
                except StopIteration:
                    if logs is None:
                        raise
                    break
                if not prepared:
                    if self._new_fit and not self._inner_loops():
                        self._updates = 0  # moves fall on the ends of this fit's epochs
                    self._new_fit = False
                    self.prepare(self._feed.rows)
                if self._traced is None:
                    self._trace()
                    self._traced = settings
                if not prepared:
                    prepared = True
                    logs = self.begin(self._feed.batch(start))
                    if self.stop_training:
                        break
                n = min(left, end - start)
                if not self._move_in_program:
                    n = min(n, max(1, critic_steps - self._updates))
                logs = self._steps_program(
                    batches,
                    *(tf.constant(i) for i in (start, start + n, self._updates, critic_steps)),
                )
                self._feed.used(n)
                left -= n
                self._epoch_updates += n
                self._updates += n
                if self._move_in_program:
                    self._updates %= critic_steps
                elif self._updates >= critic_steps:
                    self._updates = 0
                    logs = self._move(self._feed.batch(start + n - 1))
            return logs

        self.train_function = train_function

    def _trace(self):
        """Make the compiled programs anew."""
        self._steps_program = self._program(self._steps)
        self._move_program = self._program(self.generator_move)

    def _move(self, real):
        again = True
        while again:
            logs = self._move_program(real)
            for callback in self._step_callbacks:
                callback.after_generator_move()
            again = any(c.moves_again() for c in self._step_callbacks) and not self.stop_training
        return logs

    def begin(self, real: tf.Tensor) -> dict | None:
        """Run before the first update of a fit, with its batch; logs, if there are any."""

    def _program(self, step):
        if self._replicas > 1:
            step = functools.partial(_replicas.run, self._strategy, step)
        if self.run_eagerly:
            return step
        return tf.function(
            step, jit_compile=self.jit_compile, reduce_retracing=True, autograph=False
        )

    # ---- what is compiled ---

    def _steps(self, batches, start, stop, since, critic_steps):
        """Critic updates on some batches, and the moves that fall between them.

        Args:
            batches: a tensor of batches; of one batch alone where there are several replicas, which
                talk to each other at each update and so cannot go round a compiled loop.
            start: the first to take.
            stop: the first that is left.
            since: updates since the last move.
            critic_steps: updates before each move.
        """
        if self._replicas > 1:
            return self.critic_update(batches)

        def step(i, since):
            real = tf.gather(batches, i)
            self.critic_update(real)
            since += 1
            if self._move_in_program:
                due = since >= critic_steps
                tf.cond(due, lambda: self._moved(real), lambda: 0)
                since = tf.where(due, 0, since)
            return i + 1, since

        tf.while_loop(lambda i, _: i < stop, step, (start, since), parallel_iterations=1)
        return self.get_metrics_result()

    def _moved(self, real):
        self.generator_move(real)
        return 0

    def _xla_wins(self):
        """The time of some updates with a gradient penalty, both ways."""
        if self._replicas > 1 or not self.trainable_variables:
            return False  # XLA takes no part in what replicas tell each other
        # A batch size of its own, so that the answer is that of the models and the device.
        rows = int(np.clip(2**22 // np.prod(self.sample_shape), 1, 64))
        x = tf.random.stateless_uniform((rows, *self.sample_shape), (0, 1), -1, 1)
        z = self.latent.sample(rows, seed=0)
        update = _xla.updates(lambda c: self._trial_loss(c * x, c * z), self.trainable_variables)
        return _xla.faster(f"'{self.name}'", *update)

    def _trial_loss(self, x, z):
        """What updates spend their time on, in inference mode, which changes nothing."""
        gradient = input_gradient(lambda x: self.critic(x, training=False), x)
        return tf.reduce_mean(tf.square(tf.cast(gradient, "float32")))

    @property
    def _replicas(self):
        return self._strategy.num_replicas_in_sync
