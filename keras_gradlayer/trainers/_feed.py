"""Batches on their way to the compiled steps: several in one tensor, where that is faster.

One program then takes many critic updates without going back to Python in between.
"""

import keras
import numpy as np
import tensorflow as tf

_GROUP_BYTES = 2**24
_GROUP_STEPS = 256  # often enough for a progress bar
# Keras' own, which do nothing at a batch unless their settings say so.
_BY_EPOCH = {
    "ModelCheckpoint": "save_freq",
    "BackupAndRestore": "save_freq",
    "TensorBoard": "update_freq",
}
_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def watches_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback wants to be called at every batch."""
    name = type(callback).__name__
    if type(callback).__module__.startswith("keras."):
        if name == "ProgbarLogger":
            return False
        if name == "TensorBoard" and callback._stop_batch > 0:  # it profiles batches
            return True
        if name in _BY_EPOCH and getattr(callback, _BY_EPOCH[name]) == "epoch":
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
        replicas: how many there are; a batch then is a part for each, and stays as it is.
    """

    def __init__(self, group, replicas):
        self._group, self._replicas = group, replicas
        self._next = group
        self._batches = None

    def batches(self, iterator):
        """The present group, (batches, batch size, ...), which of them is next, and the end."""
        if self._next == self._group:
            element, *_ = keras.tree.flatten(next(iterator))
            if self._group == self._replicas == 1:
                element = tf.convert_to_tensor(element)[None]
            self._batches, self._next = element, 0
        return self._batches, self._next, self._group

    def used(self, n):
        """The first `n` of those that were left have been used."""
        self._next += n

    def batch(self, i):
        """A batch of the present group."""
        return tf.gather(self._batches, i) if self._replicas == 1 else self._batches

    @property
    def rows(self):
        """Samples in a batch, over all replicas."""
        part = getattr(self._batches, "values", (self._batches,))[0]
        return part.shape[0] * self._replicas if self._replicas > 1 else part.shape[1]
