"""Batches on their way to the compiled steps: several in one tensor, where that is faster.

One program then takes many critic updates without going back to Python in between.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer._conditions import pair, unpair

_GROUP_BYTES = 2**24
_GROUP_STEPS = 256  # often enough for a progress bar
# Keras' own that do as well with a call for many batches.
_ANY_NUMBER = (keras.callbacks.ProgbarLogger, keras.callbacks.TerminateOnNaN)
_BY_EPOCH = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)
_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def watches_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback wants to be called at every batch."""
    if type(callback) in _ANY_NUMBER:
        return False
    if type(callback) in _BY_EPOCH and callback.save_freq == "epoch":
        return False
    default = keras.callbacks.Callback
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(default, hook)
        for hook in _HOOKS
    )


def can_be_grouped(data: tf.data.Dataset) -> bool:
    """Whether the batches of a dataset are all of one known shape, and their number is known."""
    known = int(data.cardinality()) != tf.data.UNKNOWN_CARDINALITY
    return known and all(s.shape.is_fully_defined() for s in tf.nest.flatten(data.element_spec))


def group_size(data: tf.data.Dataset, steps: int) -> int:
    """How many batches to put in one tensor: at most `steps`, of at most 16 MB."""
    specs = tf.nest.flatten(data.element_spec)
    size = max(1, sum(int(np.prod(spec.shape)) * spec.dtype.size for spec in specs))
    most = max(1, min(steps, _GROUP_STEPS, _GROUP_BYTES // size))
    return -(-steps // -(-steps // most))  # groups of much the same size


def grouped(trainer, data: tf.data.Dataset, listed: list) -> tuple[tf.data.Dataset, int]:
    """A trainer's data as Keras is given it, and how many batches an element holds."""
    steps, epoch_steps = trainer.compile_settings["steps_per_execution"], trainer.loop.epoch_steps
    can = not trainer.run_eagerly and trainer.replicas == 1 and can_be_grouped(data)
    if steps == "auto":
        watched = any(map(watches_batches, listed))
        steps = group_size(data, epoch_steps) if can and not watched else 1
    if epoch_steps is not None:  # the same order, whichever way the steps are taken
        data = data.repeat()
    group = 1
    if can and steps > 1:
        group = group_size(data, min(steps, epoch_steps))
        data = data.batch(group, drop_remainder=True).prefetch(2)
    trainer.steps_per_execution = steps
    return data, group


class Feed:
    """Hands out the batches of Keras' iterators, from groups of them or one by one.

    Args:
        group: how many batches an element of the data holds, or 1 for plain batches.
        strategy: the distribution strategy; with several replicas a batch is a part for each, and
            stays as it is.
    """

    def __init__(self, group: int, strategy: tf.distribute.Strategy):
        self.group, self.strategy = group, strategy
        self.replicas = strategy.num_replicas_in_sync
        self.next = group
        self.present = None

    def batches(self, iterator):
        """The present group, (batches, batch size, ...), which of them is next, and the end."""
        if self.next == self.group:
            parts = [x for x in keras.tree.flatten(next(iterator)) if x is not None]
            if self.group == self.replicas == 1:
                parts = [tf.convert_to_tensor(part)[None] for part in parts]
            # samples, or samples and conditions
            self.present, self.next = pair(*parts) if len(parts) == 2 else parts[0], 0
        return self.present, self.next, self.group

    def pass_over(self, iterator, n):
        """Leave out the next `n`."""
        while n > 0:
            _, first, end = self.batches(iterator)
            self.used(min(n, end - first))
            n -= end - first

    def used(self, n):
        """The next `n` have been used."""
        self.next += n

    def batch(self, i):
        """A batch of the present group."""
        return batch_of(self.present, i) if self.replicas == 1 else self.present

    @property
    def rows(self):
        """Samples in a batch, over all replicas."""
        x, _ = unpair(self.present)
        if self.replicas == 1:
            return x.shape[1]
        return self.replicas * self.strategy.experimental_local_results(x)[0].shape[0]


def batch_of(batches, i):
    """A batch of a group, a tensor or a pair."""
    return tf.nest.map_structure(lambda x: tf.gather(x, i), batches)
