"""Classifiers that images are scored by."""

import hashlib
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._loading import load_model
from keras_gradlayer._programs import program


class Classifier:
    """Logits and features of batches of images, by any network.

    `Scorer` makes one of its argument. Images are resized to the size that the network takes
    (bilinear, with antialiasing where they shrink), and grey ones repeated where it takes colour.

    Args:
        source: a Keras model, or the path of its `.keras` file, that returns a dict of `"logits"`,
            shape (batch, classes), and `"features"`, shape (batch, d), for images in [-1, 1]; or
            the URL or folder of a TensorFlow Hub module that returns `"logits"` and `"pool_3"`,
            such as TF-GAN's Inception at `https://tfhub.dev/tensorflow/tfgan/eval/inception/1`.

    Call arguments:
        images: float array of shape (batch, height, width, channels) in [-1, 1].

    Raises:
        TypeError: if `source` is none of these.
        ValueError: if it does not take images, does not return logits and features, or cannot be
            loaded, or if images have other channels than it takes.
        OSError: if there is no such file.
        ImportError: for a Hub module without the package tensorflow-hub.

    Example:
        >>> x = keras.layers.Input((8, 8, 1))
        >>> features = keras.layers.Flatten()(x)
        >>> outputs = {"features": features, "logits": keras.layers.Dense(3)(features)}
        >>> classifier = Classifier(keras.Model(x, outputs))
        >>> logits, features = classifier(np.zeros((5, 28, 28, 1), "float32"))
        >>> logits.shape, features.shape
        ((5, 3), (5, 64))
    """

    def __init__(self, source: keras.Model | str | os.PathLike):
        what = "a Keras model, the path of one, or the URL of a TensorFlow Hub module"
        _checks.instance_of("classifier", source, (keras.Model, str, os.PathLike), what)
        self._arguments = {"training": False}
        if isinstance(source, keras.Model):
            self._model, name = source, source.name
        elif "://" in str(source) or pathlib.Path(source).is_dir():
            self._model, name, self._arguments = _hub_module(str(source)), str(source), {}
        elif not pathlib.Path(source).is_file():
            raise FileNotFoundError(f"There is no classifier at {source}.")
        else:
            self._model = load_model(source)
            name = pathlib.Path(source).stem
        self._input_shape = _input_shape(self._model, name)
        variables = getattr(self._model, "weights", getattr(self._model, "variables", ()))
        digest = hashlib.sha256(b"".join(v.numpy().tobytes() for v in variables)).hexdigest()
        self._source = name
        self.name = f"{name} ({digest[:8]})" if variables else name
        self._classify = program(self._outputs, reduce_retracing=True)

    def __call__(self, images: np.ndarray | tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Logits and features of a batch, as float32 arrays."""
        # Resized outside the program, whose trace may be for any number of channels.
        logits, features = self._classify(self._resized(tf.cast(images, "float32")))
        return logits.numpy(), features.numpy()

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return self._input_shape[2]

    def resizing(self, image_shape: tuple[int, ...]) -> str:
        """What is done to images (height, width, channels) before they are classified."""
        (*size, channels), (*to, expected) = image_shape, self._input_shape
        parts = []
        if None not in to and size != to:
            parts.append(f"{size[0]}x{size[1]} to {to[0]}x{to[1]}, bilinear")
        if expected == 3 and channels == 1:
            parts.append("grey to colour")
        return "; ".join(parts) or "none"

    def _resized(self, images):
        *size, channels = self._input_shape
        if images.shape[3] not in (channels, 1) and channels is not None:
            raise ValueError(
                f"The classifier {self.name} takes images of {channels} channels. "
                f"Received: {images.shape[3]}"
            )
        if None not in size and list(images.shape[1:3]) != size:
            images = tf.image.resize(images, size, antialias=True)
        if channels == 3 and images.shape[3] == 1:
            images = tf.image.grayscale_to_rgb(images)
        return images

    def _outputs(self, images):
        outputs = self._model(images, **self._arguments)
        given = outputs if isinstance(outputs, dict) else {}
        logits, features = given.get("logits"), given.get("features", given.get("pool_3"))
        if logits is None or features is None:
            raise ValueError(
                "A classifier must give a dict of 'logits' and 'features'. "
                f"Received from '{self._source}': {sorted(given) or type(outputs).__name__}"
            )
        if logits.shape.rank != 2:
            raise ValueError(
                "The logits of a classifier must be of shape (batch, classes). "
                f"Received from '{self._source}': {tuple(logits.shape)}"
            )
        features = tf.reshape(features, (tf.shape(logits)[0], -1))
        return tf.cast(logits, "float32"), tf.cast(features, "float32")


def _input_shape(model, name):
    """Height, width and channels; 299 x 299 in colour for Hub modules, which are Inception's."""
    if not isinstance(model, keras.Model):
        return (299, 299, 3)
    shape = tuple(getattr(model, "input_shape", None) or ())[1:]
    if len(shape) != 3:
        raise ValueError(
            "A classifier takes images, (height, width, channels), and is a Functional or "
            f"Sequential model, whose input shape is known. Received: '{name}', a "
            f"{type(model).__name__} for inputs of shape {shape}"
        )
    return shape


def _hub_module(url):
    """A TensorFlow Hub module; TensorFlow Hub downloads it once and caches it."""
    try:
        import tensorflow_hub as hub
    except Exception as e:  # its requirements may clash with what is installed
        raise ImportError(
            f"The classifier {url} needs the package tensorflow-hub: "
            "pip install 'keras-gradlayer[metrics]'"
        ) from e
    try:
        return hub.load(url)
    except Exception as e:  # whatever the network, the archive or the SavedModel says
        said = str(e).partition("\n")[0]
        raise ValueError(
            f"The classifier {url} cannot be loaded: {type(e).__name__}: {said} It needs a network "
            "the first time. Expected a URL that can be reached, or a Keras model that gives "
            "'logits' and 'features' (its scores do not compare with Inception's)."
        ) from e
