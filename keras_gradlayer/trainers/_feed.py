"""Batches on their way to the compiled steps: several in one tensor, where that is faster.

One program then takes many critic updates without going back to Python in between.
"""

import keras
import numpy as np
import tensorflow as tf

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
    return known and data.element_spec.shape.is_fully_defined()


def group_size(data: tf.data.Dataset, steps: int) -> int:
    """How many batches to put in one tensor: at most `steps`, of at most 16 MB."""
    spec = data.element_spec
    size = max(1, int(np.prod(spec.shape)) * spec.dtype.size)
    most = max(1, min(steps, _GROUP_STEPS, _GROUP_BYTES // size))
    return -(-steps // -(-steps // most))  # groups of much the same size


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
            element, *_ = keras.tree.flatten(next(iterator))
            if self.group == self.replicas == 1:
                element = tf.convert_to_tensor(element)[None]
            self.present, self.next = element, 0
        return self.present, self.next, self.group

    def used(self, n):
        """The next `n` have been used."""
        self.next += n

    def batch(self, i):
        """A batch of the present group."""
        return tf.gather(self.present, i) if self.replicas == 1 else self.present

    @property
    def rows(self):
        """Samples in a batch, over all replicas."""
        if self.replicas == 1:
            return self.present.shape[1]
        return self.replicas * self.strategy.experimental_local_results(self.present)[0].shape[0]
