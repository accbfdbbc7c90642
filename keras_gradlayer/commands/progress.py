"""A progress bar."""

import keras
from tqdm import tqdm


class Progress(keras.callbacks.Callback):
    """A progress bar of epochs, or of another unit, with the critic's estimate of W1."""

    def __init__(self, unit="epoch"):
        super().__init__()
        self.unit, self.bar = unit, None

    def on_train_begin(self, logs=None):
        """Let a search of step sizes show its progress, too."""
        self.model.loop.verbose = True

    def on_epoch_begin(self, epoch, logs=None):
        """Start the bar, at the epoch that a resumed run starts at."""
        if self.bar is None:
            self.bar = tqdm(total=self.params["epochs"], initial=epoch, unit=self.unit)

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar."""
        self.bar.set_postfix(wasserstein=f"{logs['wasserstein']:.4g}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
