"""Pictures of the same samples, epoch by epoch."""

import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks, pictures
from keras_gradlayer.models._followed import Followed


class SampleGrid(keras.callbacks.Callback):
    """Draws the samples of fixed latents before the run and after every few epochs.

    Use it to look at what the layers do: `by_depth.png` has a row for each of the first eight
    latents, and in it the same sample layer by layer (epoch by epoch for a GAN); all of them stand
    in `layers_0003.png` or `epoch_0003.png`. Images are drawn as a grid, from black to white in
    [-1, 1], or in the range of the generator's output activation; points in the plane as dots.
    TensorBoard shows the pictures when it is given the folder. Where another callback object goes
    on with a GAN's run, its epochs are a row of their own, `by_depth_0003.png`.

    Args:
        directory: folder for the pictures, new or empty when a run begins.
        every: epochs from one picture to the next; the last is drawn, too.
        samples: how many latents.
        seed: integer that the latents follow from.

    Raises:
        TypeError: for a model without a `latent`.
        ValueError: for samples that cannot be drawn, or pictures of another run in the folder.

    Example: `tuner.fit(data, epochs=20, callbacks=[SampleGrid("runs/grid")])`
    """

    def __init__(
        self, directory: str | os.PathLike, every: int = 1, samples: int = 64, seed: int = 0
    ):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.every = _checks.positive_int("every", every)
        self.samples, self.seed = _checks.positive_int("samples", samples), seed
        self._followed, self._strip = None, {}

    def set_model(self, model: keras.Model) -> None:
        """Check that the model's samples can be drawn."""
        super().set_model(model)
        if not hasattr(model, "latent"):
            raise TypeError(
                f"SampleGrid is for models with a `latent`. Received: a {type(model).__name__}"
            )
        shape = tuple(model.sample_shape)
        if not (len(shape) == 3 and shape[-1] in (1, 3)) and shape != (2,):
            raise ValueError(
                "SampleGrid draws images, (height, width, 1 or 3), and points in the plane, (2,). "
                f"Received: samples of shape {shape}"
            )
        self._followed = Followed(model, self.samples, self.seed)
        self._value_range = model.output_range() if hasattr(model, "output_range") else (-1, 1)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget what a fit before this one has drawn last."""
        self._drawn = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Draw the state before the first epoch."""
        # Not in on_train_begin: a model that goes on from a backup is restored only there.
        if self._drawn is None:
            # What an interrupted first epoch left is that of this run.
            names = {p.name for p in self.directory.glob("*.png")}
            if any(self.directory.glob("events.out.tfevents.*")):
                names -= {"layers_0000.png", "epoch_0000.png"}
            if not epoch and names:
                raise ValueError(
                    f"`directory` must be new or empty when a run begins. Received: "
                    f"{self.directory}, with pictures of another run."
                )
            self.directory.mkdir(parents=True, exist_ok=True)
            self._seen = epoch
            self._strip = {k: x for k, x in self._strip.items() if epoch and k < epoch}
            self._writer = tf.summary.create_file_writer(str(self.directory))
            self._draw(epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Draw the state after every few epochs."""
        self._seen = epoch + 1
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        if (epoch + 1) % self.every == 0 or last:
            self._draw(epoch + 1)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Draw the rows."""
        if self._drawn is None:
            return
        self._draw(self._seen)  # stopped by a callback that comes after this one
        path = self.directory / "by_depth.png"
        if self._stack is not None:  # each layer there is, however many an epoch stacked
            z, depths = self._followed.latents, _some(self._stack.depth + 1)
            row = {f"{k} layers": self.model(z, layers=k) for k in depths}
        else:
            epochs = list(self._strip)
            row = {f"epoch {k}": self._strip[k] for k in (epochs[i] for i in _some(len(epochs)))}
            if epochs[0]:
                path = self.directory / f"by_depth_{epochs[0]:04d}.png"
        pictures.strip(path, [_first(x) for x in row.values()], list(row), self._value_range)
        self._log(path, "by_depth", 0)
        self._writer.close()

    @property
    def _stack(self):
        return getattr(self.model, "stack", None)

    def _draw(self, epoch):
        number, unit = (epoch, "epoch") if self._stack is None else (self._stack.depth, "layers")
        path = self.directory / f"{unit}_{number:04d}.png"
        if number == self._drawn:
            return
        self._drawn, samples = number, self._followed.samples()
        pictures.sample_picture(path, samples, self._value_range)
        self._log(path, "samples", number)
        if self._stack is None:
            self._strip[epoch] = _first(samples)

    def _log(self, path, name, step):
        image = tf.io.decode_png(path.read_bytes(), channels=3)
        with self._writer.as_default():
            tf.summary.image(name, image[None], step)
        self._writer.flush()


def _some(count):
    """At most twelve of so many numbers, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, 12).round().astype(int)).tolist()


def _first(samples):
    """What a row or a panel of `by_depth.png` shows: all points, or the first images."""
    samples = np.asarray(samples, "float32")
    return samples if samples.ndim == 2 else samples[:8]
