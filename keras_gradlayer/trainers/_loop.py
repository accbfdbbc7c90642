"""The adversarial loop: the critic takes some steps, then the generator moves once.

Batches go to compiled programs, many at a time where that is possible. `LoopState` says where the
loop stands; the functions take a trainer and go on from there.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_gradlayer._conditions import unpair
from keras_gradlayer.trainers._feed import batch_of
from keras_gradlayer.trainers.loop_state import Programs


def train(trainer, iterator: Iterator) -> dict | None:
    """What Keras calls for each batch: critic updates, and the moves that fall between them."""
    loop, logs = trainer.loop, None
    left = loop.left(trainer.steps_per_execution)
    if left == 0:  # an interrupted run took them
        return trainer.get_metrics_result()
    loop.feed.pass_over(iterator, loop.skip)
    loop.skip = 0
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
            if trainer.stop_training and logs is not None:
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
            logs = trainer.move(loop.feed.batch(first + steps - 1))
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
        here = trainer.strategy.experimental_local_results
        x, condition = (
            part if part is None else np.concatenate([share.numpy() for share in here(part)])
            for part in unpair(real)
        )
        trainer.check_samples(x)
        if condition is not None and not trainer.conditions.known:  # the best there is
            trainer.conditions.learn(condition)
        loop.checked = True
    trainer.prepare(loop.feed.rows)
    key = trainer.trace_key()
    if loop.programs is None or loop.programs.key != key:
        loop.programs = Programs(
            key,
            updates=trainer.program(lambda *x: updates(trainer, *x)),
            move=trainer.program(trainer.generator_move),
        )
    loop.ready = True


def _start(trainer, real):
    """Begin a fit; logs, if the generator has moved already."""
    loop = trainer.loop
    if loop.fitting and not loop.inner_loops():
        loop.since_move = loop.epoch_updates  # moves fall on the ends of this fit's epochs
    # A shorter inner loop than before: the move that is overdue comes with the first update.
    loop.since_move = min(loop.since_move, loop.critic_steps - 1)
    loop.started = True
    return trainer.begin(real)


def _update(trainer, batches, first, steps):
    loop = trainer.loop
    numbers = (first, first + steps, loop.since_move, loop.critic_steps)
    logs = loop.programs.updates(batches, *map(tf.constant, numbers))
    loop.take(steps)
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
        real = batch_of(batches, i)
        trainer.critic_update(real)
        since += 1
        if moves:
            due = since >= critic_steps
            tf.cond(due, lambda: move(real), lambda: 0)
            since = tf.where(due, 0, since)
        return i + 1, since

    tf.while_loop(lambda i, _: i < stop, step, (start, since), parallel_iterations=1)
    return trainer.get_metrics_result()
