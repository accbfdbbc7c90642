"""Pictures of the same samples, epoch by epoch."""

import importlib.util
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks, pictures
from keras_gradlayer.callbacks._watcher import Watcher, output_range_of

_MARK = ".sample_grid"  # a run has begun to draw here


class SampleGrid(Watcher):
    """Draws the samples of fixed latents before the run and after every few epochs.

    Use it to look at what the layers do: each row of `by_depth.png` is one of the first eight
    samples, layer by layer (epoch by epoch for a GAN); `layers_0003.png` or `epoch_0003.png` show
    all samples. Images are drawn as a grid, from black to white in the range of the generator's
    output activation ([-1, 1] if it has none), of a conditional model a row a class; points in the
    plane as dots. TensorBoard, where it is installed, shows the pictures of the folder. Where
    another callback object resumes a GAN's run, its epochs are a picture of their own,
    `by_depth_0003.png`.

    Args:
        directory: folder for the pictures, new or empty when a run begins.
        every: draw after every so many epochs, and before the first and after the last.
        samples: how many latents.
        seed: integer that the latents follow from.

    Raises:
        TypeError: for a model without a `latent`.
        ValueError: for samples that cannot be drawn, or pictures of another run in the folder.

    Example:
        >>> tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,)), step_size=0.1)
        >>> tuner.compile()
        >>> x = np.random.default_rng(0).uniform(-1, 1, (256, 2)).astype("float32")
        >>> callbacks = [kgl.callbacks.GradientPenalty(), SampleGrid(tmp_path / "grid")]
        >>> history = tuner.fit(x, batch_size=64, callbacks=callbacks, verbose=0)
        >>> sorted(path.name for path in (tmp_path / "grid").glob("*.png"))
        ['by_depth.png', 'layers_0000.png', 'layers_0001.png']
    """

    by_class = True

    def __init__(
        self, directory: str | os.PathLike, every: int = 1, samples: int = 64, seed: int = 0
    ):
        super().__init__(samples, seed, every)
        _checks.path("directory", directory)
        self.directory = pathlib.Path(directory)
        self._strip: dict = {}

    def set_model(self, model: keras.Model) -> None:
        """Check that the model's samples can be drawn."""
        super().set_model(model)
        shape = tuple(model.sample_shape)
        if not pictures.drawable(shape):
            raise ValueError(
                "SampleGrid draws images, (height, width, 1, 3 or 4) or (1 or 3, height, width), "
                f"and points in the plane, (2,). Received: samples of shape {shape}"
            )
        self._stack = getattr(model, "stack", None)
        self._value_range = output_range_of(model)

    def _begin(self, epoch):
        # What an interrupted first epoch left is that of this run.
        names = {p.name for p in self.directory.glob("*.png")}
        if (self.directory / _MARK).exists():
            names -= {"layers_0000.png", "epoch_0000.png"}
        if not epoch and names:
            raise ValueError(
                f"`directory` must be new or empty when a run begins. Received: "
                f"{self.directory}, with pictures of another run."
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        self._strip = {k: x for k, x in self._strip.items() if epoch and k < epoch}
        (self.directory / _MARK).touch()
        self._writer = _writer(self.directory)
        self._drawn = None
        self._look(epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Draw the rows."""
        if self._seen is None:  # resumed where no epoch was left
            self._begin(self.params.get("epochs") or 0)
        else:
            self._look(self._seen)  # stopped by a callback that comes after this one
        path, epochs = self.directory / "by_depth.png", list(self._strip)
        count = len(epochs) if self._stack is None else self._stack.depth + 1
        # At most twelve, the first and the last among them.
        shown = np.unique(np.linspace(0, count - 1, 12).round().astype(int)).tolist()
        if self._stack is not None:  # each layer there is, however many an epoch stacked
            row = {f"{k} layers": self.model(self._followed.latents, layers=k) for k in shown}
        else:
            row = {f"epoch {epochs[i]}": self._strip[epochs[i]] for i in shown}
            if epochs[0]:
                path = self.directory / f"by_depth_{epochs[0]:04d}.png"
        pictures.strip(path, [_first(x) for x in row.values()], list(row), self._value_range)
        self._log(path, "by_depth", 0)
        if self._writer is not None:
            self._writer.close()

    def _look(self, epoch):
        number, unit = (epoch, "epoch") if self._stack is None else (self._stack.depth, "layers")
        path = self.directory / f"{unit}_{number:04d}.png"
        if number == self._drawn:
            return
        self._drawn, samples = number, self._followed.samples()
        rows = {"rows": self._followed.rows} if self._followed.rows else {}
        pictures.sample_picture(path, samples, self._value_range, **rows)
        self._log(path, "samples", number)
        if self._stack is None:
            self._strip[epoch] = _first(samples)

    def _log(self, path, name, step):
        if self._writer is None:
            return
        image = tf.io.decode_png(path.read_bytes(), channels=3)
        with self._writer.as_default():
            tf.summary.image(name, image[None], step)
        self._writer.flush()


def _writer(directory):
    """A writer of TensorBoard's events, if it is installed; TensorFlow 2.21 does not bring it."""
    has_tensorboard = importlib.util.find_spec("tensorboard") is not None
    return tf.summary.create_file_writer(str(directory)) if has_tensorboard else None


def _first(samples):
    """What a row or a panel of `by_depth.png` shows: all points, or the first images."""
    samples = np.asarray(samples, "float32")
    return samples if samples.ndim == 2 else samples[:8]
