"""The replicas of a distribution strategy, and what they have in common."""

from collections.abc import Callable

import tensorflow as tf


def run(strategy: tf.distribute.Strategy, step: Callable, *arguments) -> dict:
    """Run a step on all replicas; floats that are the means of theirs."""

    def rank_one(value):  # the reduction over workers takes no scalars
        return tf.reshape(tf.cast(value, "float32"), [1])

    found = strategy.run(lambda *x: tf.nest.map_structure(rank_one, step(*x)), args=arguments)
    return tf.nest.map_structure(
        lambda v: strategy.reduce(tf.distribute.ReduceOp.MEAN, v, axis=None)[0], found
    )


def here(strategy: tf.distribute.Strategy) -> list[tuple[int, str | None]]:
    """Number and device of each replica of this process."""
    if strategy.num_replicas_in_sync == 1:
        return [(0, None)]
    with strategy.scope():
        copies = strategy.experimental_local_results(tf.Variable(0, trainable=False))
    several = len(copies) < strategy.num_replicas_in_sync
    first = strategy.cluster_resolver.task_id * len(copies) if several else 0
    return list(enumerate((v.device for v in copies), first))
