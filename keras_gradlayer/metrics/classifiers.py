"""Classifiers that images are scored by."""

import hashlib
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


class Classifier:
    """What an image classifier makes of batches of images: logits and features.

    Use it to score images by any network; `Scorer` makes one of what it is given. Images of another
    size than the network takes are resized (bilinear, with antialiasing where they shrink), grey
    ones are repeated for networks that take colour, and `resizing` says so.

    Args:
        source: a Keras model, or the path of its `.keras` file, that gives a dict of `"logits"`,
            shape (batch, classes), and `"features"`, shape (batch, d), for images in [-1, 1]; or
            the URL or folder of a TensorFlow Hub module that gives `"logits"` and `"pool_3"`, such
            as TF-GAN's Inception at `https://tfhub.dev/tensorflow/tfgan/eval/inception/1`.

    Call arguments:
        images: float array of shape (batch, height, width, channels) in [-1, 1].

    Returns (of a call): the logits and the features, float32 arrays.

    Raises:
        TypeError: if `source` is none of these.
        ValueError: if it does not take images or give logits and features, or is a URL that cannot
            be had; if images have other channels than it takes.
        OSError: if there is no such file.

    Example: `Classifier("classifier.keras")`
    """

    def __init__(self, source: keras.Model | str | os.PathLike):
        if isinstance(source, keras.Model):
            self._open(source, source.name, _input_shape(source), source.weights)
        elif not isinstance(source, (str, os.PathLike)):
            raise TypeError(
                "`classifier` must be a Keras model, the path of one, or the URL of a TensorFlow "
                f"Hub module. Received: {source!r}"
            )
        elif "://" in str(source) or pathlib.Path(source).is_dir():
            module = _hub_module(str(source))
            self._open(module, str(source), (299, 299, 3), getattr(module, "variables", ()))
        elif not pathlib.Path(source).is_file():
            raise FileNotFoundError(f"There is no classifier at {source}.")
        else:
            model = keras.saving.load_model(source, compile=False)
            self._open(model, pathlib.Path(source).stem, _input_shape(model), model.weights)

    def _open(self, model, name, input_shape, variables):
        self._input_shape = tuple(input_shape)
        if len(self._input_shape) != 3:
            raise ValueError(
                "A classifier takes images, (height, width, channels). "
                f"Received: '{name}' for inputs of shape {self._input_shape}"
            )
        digest = hashlib.sha256()
        for v in variables:
            digest.update(np.ascontiguousarray(v.numpy()).tobytes())
        self.name = f"{name} ({digest.hexdigest()[:8]})" if variables else name
        kwargs = {"training": False} if isinstance(model, keras.Model) else {}

        def classify(images):
            outputs = model(images, **kwargs)
            missing = [k for k in (("logits",), ("features", "pool_3")) if not _first(outputs, k)]
            if missing:
                given = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
                raise ValueError(
                    "A classifier must give a dict of 'logits' and 'features'. "
                    f"Received from '{name}': {given}"
                )
            logits, features = outputs["logits"], outputs[_first(outputs, ("features", "pool_3"))]
            if logits.shape.rank != 2:
                raise ValueError(
                    "The logits of a classifier must be of shape (batch, classes). "
                    f"Received from '{name}': {tuple(logits.shape)}"
                )
            return tf.cast(logits, "float32"), tf.reshape(
                tf.cast(features, "float32"), (tf.shape(logits)[0], -1)
            )

        self._classify = tf.function(classify, reduce_retracing=True, autograph=False)

    def _fit(self, images):
        """Images in the size and the channels of the network."""
        size, channels = self._input_shape[:2], self._input_shape[2]
        if images.shape[3] not in (channels, 1) and channels is not None:
            raise ValueError(
                f"The classifier {self.name} takes images of {channels} channels. "
                f"Received: {images.shape[3]}"
            )
        if None not in size and tuple(images.shape[1:3]) != size:
            images = tf.image.resize(images, size, antialias=True)
        if channels == 3 and images.shape[3] == 1:
            images = tf.image.grayscale_to_rgb(images)
        return images

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return self._input_shape[2]

    def __call__(self, images: np.ndarray | tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Logits and features of a batch."""
        # Outside the program: its trace may be for any number of channels.
        logits, features = self._classify(self._fit(tf.cast(images, "float32")))
        return logits.numpy(), features.numpy()

    def resizing(self, image_shape: tuple[int, ...]) -> str:
        """What is done to images of this shape before they are classified.

        Args:
            image_shape: (height, width, channels).
        """
        to, channels = self._input_shape[:2], self._input_shape[2]
        parts = []
        if None not in to and tuple(image_shape[:2]) != to:
            parts.append(f"{image_shape[0]}x{image_shape[1]} to {to[0]}x{to[1]}, bilinear")
        if channels == 3 and image_shape[2] == 1:
            parts.append("grey to colour")
        return "; ".join(parts) or "none"


def _input_shape(model):
    shape = getattr(model, "input_shape", None)
    if shape is None:
        raise ValueError(
            "A classifier must be a Functional or Sequential model, whose input shape is known. "
            f"Received: '{model.name}', a {type(model).__name__}"
        )
    return shape[1:]


def _first(outputs, names):
    return next((n for n in names if isinstance(outputs, dict) and n in outputs), None)


def _hub_module(url: str) -> Callable:
    """A TensorFlow Hub module; TensorFlow Hub downloads it once and caches it."""
    try:
        import tensorflow_hub as hub
    except Exception as e:  # its needs may clash with what is installed
        raise ImportError(
            f"The classifier {url} needs the package tensorflow-hub: "
            "pip install 'keras-gradlayer[metrics]'"
        ) from e
    try:
        return hub.load(url)
    except Exception as e:  # whatever the network, the archive or the SavedModel says
        raise ValueError(
            f"The classifier {url} cannot be had: {type(e).__name__}: {str(e).splitlines()[0]} "
            "It needs a network the first time. Expected a URL that can be reached, or a Keras "
            "model that gives 'logits' and 'features'; scores by another classifier do not "
            "compare with those by Inception."
        ) from e
