"""A model's samples by their seeds, block by block."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.serving.clients.local_client import LocalClient
from keras_gradlayer.serving.metadata import (
    finite_bounds,
    latent_of,
    package_versions,
    read_metadata,
)
from keras_gradlayer.serving.signatures import (
    encode_images,
    image_range,
    make_signatures,
    source_of,
)

_FLOW = ("depth", "step_sizes", "steps_per_layer")


class SeededSampler:
    """What draws the sample of each seed, the same bytes whatever else is drawn.

    Use it to open a model once, where several calls of `write_shard` draw from it.

    Samples are computed in whole blocks that begin at multiples of the batch size, and cut to what
    is asked for: convolutions and matrix products round otherwise in a batch of another size. So
    the bytes of a sample depend on its seed, the model and the batch size, with one version of
    TensorFlow on one kind of processor. Where there is a GPU, whose kernels are chosen by how fast
    they just were, this switches on TensorFlow's op determinism for the process.

    Args:
        model: a `FineTuner`, a sampler, a `GAN` or any Keras model that maps latents to samples;
            the path of its `.keras` file; or the folder of an exported sampler.

    Raises:
        TypeError: if `model` is none of these.
        ValueError: if there is no such file, or it does not map latents to samples.

    Example:

    >>> sampler = SeededSampler(folder)
    >>> seeds, samples = zip(*sampler.blocks(60, 70, batch_size=64))
    >>> [x.shape for x in samples]
    [(4, 2), (6, 2)]
    """

    def __init__(self, model: keras.Model | str | os.PathLike):
        if tf.config.list_physical_devices("GPU"):
            tf.config.experimental.enable_op_determinism()
        if isinstance(model, (str, os.PathLike)) and str(model).endswith(".keras"):
            if not tf.io.gfile.exists(str(model)):
                raise ValueError(f"There is no file {model}.")
            model = keras.saving.load_model(model, compile=False)
        if isinstance(model, (str, os.PathLike)):
            facts = read_metadata(model)
            self._owner = LocalClient(model).loaded
            self._functions = self._owner.signatures
            self._latent, bounds = latent_of(facts), facts["data_range"]
            flow = {key: facts[key] for key in _FLOW}
            shape = tuple(facts["sample_shape"])
        else:
            self._owner = source = source_of(model)  # functions alone do not keep variables
            self._functions = make_signatures(source)
            self._latent, bounds = source.latent, finite_bounds(source.data_range)
            flow = {key: getattr(source, key) for key in _FLOW}
            shape = source.sample_shape
        images = image_range(shape, tuple(np.nan if b is None else b for b in bounds))
        self.depth = flow["depth"]
        self.draws_images = images is not None
        self._encode = tf.function(lambda x: encode_images(x, images), autograph=False)
        facts = {
            "weights": _fingerprint(self._functions["sample"].variables),
            "latent": keras.saving.serialize_keras_object(self._latent),
            **flow,
            "sample_shape": shape,
            "data_range": images or bounds,
            "versions": package_versions(),
        }
        self.facts = json.loads(json.dumps(facts))
        """What samples depend on beside their seeds, as JSON gives it back."""

    @classmethod
    def of(cls, model: "keras.Model | str | os.PathLike | SeededSampler") -> Self:
        """`model` itself, if it is open, or what opens it.

        Args:
            model: as for the class, or one of it.
        """
        return model if isinstance(model, cls) else cls(model)

    def blocks(
        self,
        start: int,
        stop: int,
        *,
        layers: int | None = None,
        batch_size: int = 64,
        encoded: bool = False,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw the samples of the seeds `start` to `stop - 1`.

        Args:
            start: the first seed.
            stop: the seed after the last.
            layers: how many gradient layers to apply; all by default.
            batch_size: samples a block.
            encoded: whether to give PNG files, where the samples are images.

        Yields:
            Seeds, shape (n,), and their samples, shape (n, *sample shape), or as many PNG files.

        Raises:
            ValueError: for a `batch_size` or `layers` out of range.
        """
        _checks.positive_int("batch_size", batch_size)
        if layers is not None and not 0 <= layers <= self.depth:
            raise ValueError(f"`layers` must be 0 to {self.depth}. Received: layers={layers}")
        for first in range(start - start % batch_size, stop, batch_size):
            seeds = np.arange(first, first + batch_size, dtype="int64")
            samples = self._draw(tf.constant(seeds), layers)
            values = (self._encode(samples) if encoded else samples).numpy()
            part = slice(max(start - first, 0), stop - first)
            yield seeds[part], values[part]

    def _draw(self, seeds, layers):
        if layers is None:
            return self._functions["sample"](seed=seeds)["samples"]
        latents = self._latent.sample_rows(seeds)
        layers = tf.fill(tf.shape(seeds), layers)
        return self._functions["sample_layers"](latent=latents, layers=layers)["samples"]


def _fingerprint(variables):
    """The same for the same weights, in whichever order a file has them."""
    digests = []
    for v in variables:
        digest = hashlib.sha256(f"{v.dtype.name}{tuple(v.shape)}".encode())
        digest.update(np.ascontiguousarray(v.numpy()).tobytes())
        digests.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
