"""Where the data of a run go on that `BackupAndRestore` brings back."""

import keras


class Restored(keras.callbacks.Callback):
    """Has the loop pass over the batches of the epochs that `BackupAndRestore` brought back."""

    def __init__(self, loop, initial_epoch):
        super().__init__()
        self.loop, self.next = loop, initial_epoch

    def on_epoch_begin(self, epoch, logs=None):
        """See where the fit begins, if not where it was told to."""
        self.loop.skip += (epoch - self.next) * (self.loop.epoch_steps or 0)
        self.next = epoch + 1
