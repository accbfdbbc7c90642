"""What the callbacks share that watch the samples of a run."""

import keras

from keras_gradlayer import _checks, _images
from keras_gradlayer.models._followed import Followed


def output_range_of(model: keras.Model) -> tuple[float, float]:
    """The range of a trainer's or sampler's output activation, [-1, 1] for other models."""
    return model.output_range() if hasattr(model, "output_range") else _images.STANDARD


class Watcher(keras.callbacks.Callback):
    """Looks at the samples of fixed latents before a run, every few epochs and at its end.

    Subclasses look in `_begin(epoch)`, before the first epoch of a fit, and in `_look(epochs)`.
    """

    by_class = False
    """Whether it looks at as many samples of each class, for a conditional model."""

    _seen: int | None = None

    def __init__(self, samples: int, seed: int, every: int = 1):
        super().__init__()
        self.every = _checks.positive_int("every", every)
        self.samples, self.seed = _checks.positive_int("samples", samples), _checks.seed(seed)

    def set_model(self, model: keras.Model) -> None:
        """Check that the model's samples can be drawn."""
        super().set_model(model)
        if not hasattr(model, "latent"):
            raise TypeError(
                f"{type(self).__name__} is for models with a `latent`. "
                f"Received: a {type(model).__name__}"
            )
        self._followed = Followed(model, self.samples, self.seed, self.by_class)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget the epochs of the last fit."""
        self._seen = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Look before the first epoch, when a model that resumes from a backup is restored."""
        if self._seen is None:
            self._begin(epoch)
            self._seen = epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Look after every few epochs, and after the last."""
        self._seen = epoch + 1
        last = self._seen == self.params.get("epochs") or self.model.stop_training
        if self._seen % self.every == 0 or last:
            self._look(self._seen)
