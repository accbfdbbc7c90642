"""The adversarial loop: the critic takes some steps, then the generator moves once.

Batches go to compiled programs, many at a time where that is possible. `LoopState` says where the
loop stands; the functions take a trainer and go on from there.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_gradlayer.trainers._feed import Feed


@dataclasses.dataclass
class _Programs:
    """The compiled steps, and what they were traced for."""

    key: tuple
    updates: Callable
    move: Callable


@dataclasses.dataclass
class LoopState:
    """Where a trainer's loop stands.

    Attributes:
        since_move: critic updates since the generator last moved; saved with the trainer.
        critic_steps: critic updates before each move.
        epoch_steps: updates in an epoch, `None` where only going through the data tells.
        epoch_updates: updates in this epoch so far.
        feed: where the batches come from.
        callbacks: the step callbacks that have joined.
        fitting: whether `fit` drives the loop, and not `train_on_batch`.
        started: whether the present fit has taken its first update.
        ready: whether what the updates need is as it was when they were last taken.
        checked: whether the data have been checked.
        programs: the compiled steps.
        variables: what step callbacks change while programs run, by class and name.
    """

    since_move: int = 0
    critic_steps: int = 1
    epoch_steps: int | None = None
    epoch_updates: int = 0
    feed: Feed | None = None
    callbacks: list = dataclasses.field(default_factory=list)
    fitting: bool = False
    started: bool = False
    ready: bool = False
    checked: bool = True
    programs: _Programs | None = None
    variables: dict = dataclasses.field(default_factory=dict)

    def left(self, steps: int) -> int:
        """How many of so many steps fall into this epoch."""
        if self.epoch_steps is None:
            return steps
        return min(steps, self.epoch_steps - self.epoch_updates)

    def new_run(self, feed: Feed, *, fitting: bool) -> None:
        """Begin with other batches."""
        self.feed, self.fitting = feed, fitting
        self.started, self.ready, self.epoch_updates = False, False, 0

    def inner_loops(self) -> list[int]:
        """What the callbacks that set it say of critic updates before each move."""
        return [c.critic_steps for c in self.callbacks if c.critic_steps is not None]

    def take(self, steps: int) -> None:
        """Count steps that were taken."""
        self.feed.used(steps)
        self.epoch_updates += steps
        self.since_move += steps


def train(trainer, iterator: Iterator) -> dict:
    """What Keras calls for each batch: critic updates, and the moves that fall between them."""
    loop, logs = trainer.loop, None
    left = loop.left(trainer.steps_per_execution)
    while left > 0 and not (trainer.stop_training and logs is not None):
        try:
            batches, first, end = loop.feed.batches(iterator)
        except StopIteration:
            if logs is None:
                raise
            break
        if not loop.ready:
            _prepare(trainer, loop.feed.batch(first))
        if not loop.started:
            logs = _start(trainer, loop.feed.batch(first))
            if trainer.stop_training:
                break
        steps = min(left, end - first)
        if not moves_in_program(trainer):
            steps = min(steps, max(1, loop.critic_steps - loop.since_move))
        logs = _update(trainer, batches, first, steps)
        left -= steps
        if moves_in_program(trainer):
            loop.since_move %= loop.critic_steps
        elif loop.since_move >= loop.critic_steps:
            loop.since_move = 0
            logs = _move(trainer, loop.feed.batch(first + steps - 1))
    return logs


def moves_in_program(trainer) -> bool:
    """Whether moves are part of the compiled program, and not steps of their own."""
    return (
        trainer.compiled_move
        and trainer.replicas == 1
        and not any(c.acts_after_moves for c in trainer.loop.callbacks)
    )


def _prepare(trainer, real):
    """Have all that the updates need, and the programs for it."""
    loop = trainer.loop
    if not loop.checked:
        parts = trainer.strategy.experimental_local_results(real)
        trainer.check_samples(np.concatenate([part.numpy() for part in parts]))
        loop.checked = True
    trainer.prepare(loop.feed.rows)
    key = trainer.trace_key()
    if loop.programs is None or loop.programs.key != key:
        loop.programs = _Programs(
            key,
            updates=trainer.program(lambda *x: updates(trainer, *x)),
            move=trainer.program(trainer.generator_move),
        )
    loop.ready = True


def _start(trainer, real):
    """Begin a fit; logs, if the generator has moved already."""
    loop = trainer.loop
    if loop.fitting and not loop.inner_loops():
        loop.since_move = 0  # moves fall on the ends of this fit's epochs
    loop.started = True
    return trainer.begin(real)


def _update(trainer, batches, first, steps):
    loop = trainer.loop
    numbers = (first, first + steps, loop.since_move, loop.critic_steps)
    logs = loop.programs.updates(batches, *map(tf.constant, numbers))
    loop.take(steps)
    return logs


def _move(trainer, real):
    logs = trainer.move(real)
    for callback in trainer.loop.callbacks:
        callback.after_generator_move()
    return logs


def updates(trainer, batches, start, stop, since, critic_steps) -> dict:
    """The compiled part: critic updates on some batches, and the moves that fall between them.

    Args:
        trainer: whose.
        batches: a tensor of batches; of one batch alone where there are several replicas, which
            talk to each other at each update and so cannot run a compiled loop.
        start: the first to take.
        stop: the first that is left.
        since: updates since the last move.
        critic_steps: updates before each move.
    """
    if trainer.replicas > 1:
        return trainer.critic_update(batches)
    moves = moves_in_program(trainer)

    def move(real):
        trainer.generator_move(real)
        return 0

    def step(i, since):
        real = tf.gather(batches, i)
        trainer.critic_update(real)
        since += 1
        if moves:
            due = since >= critic_steps
            tf.cond(due, lambda: move(real), lambda: 0)
            since = tf.where(due, 0, since)
        return i + 1, since

    tf.while_loop(lambda i, _: i < stop, step, (start, since), parallel_iterations=1)
    return trainer.get_metrics_result()
