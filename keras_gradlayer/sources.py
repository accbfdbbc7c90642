"""What the command line scores: saved models, exported ones, folders of images, data sets."""

import functools
import pathlib

import click
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.data.images import stream_folder
from keras_gradlayer.latents.gaussian import Gaussian
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.options import IMAGES, load_model
from keras_gradlayer.serving.metadata import FILE
from keras_gradlayer.serving.versions import find_version


def batches_of(source, count, seed, layers=None, image_shape=None):
    """Images in [-1, 1] from whatever `source` names, batch by batch.

    Args:
        source: a `.keras` file, the folder of a SavedModel, a folder of images, or the name of an
            image data set, with or without a split, such as "cifar10:test".
        count: how many to take, at most.
        seed: integer that latents follow from.
        layers: how many gradient layers to apply, where `source` is a sampler.
        image_shape: that of a folder's images, which are resized to it.
    """
    path = pathlib.Path(source)
    name, _, split = source.partition(":")
    if path.suffix == ".keras":
        return _from_model(_load(source), count, seed, layers)
    if layers is not None:
        raise click.UsageError(f"--layers is for .keras files of samplers. Received: {source}")
    if name in IMAGES:
        options = {"split": split} if split else {}
        # Single ones first: batches leave the last images out where they do not fill one.
        return IMAGES[name](batch_size=1, shuffle=False, **options).rebatch(250)
    if not path.is_dir():
        names = ", ".join(IMAGES)
        raise click.UsageError(
            "Expected a .keras file, the folder of a SavedModel, a folder of images, or one "
            f"of {names}, such as cifar10:test. Received: {source}"
        )
    if path.joinpath("saved_model.pb").exists() or list(path.glob("[0-9]*/saved_model.pb")):
        ours = (find_version(source) / FILE).is_file()
        return (_from_export if ours else _from_saved_model)(source, count, seed)
    if image_shape is None:
        raise click.UsageError(f"--image-size is needed for the folder of images {source}.")
    return stream_folder(source, image_shape, count)


_load = functools.lru_cache(maxsize=1)(load_model)  # one model at several depths


def _from_model(model, count, seed, layers):
    if output_range(getattr(model, "generator", None) or getattr(model, "head", model)) == (0, 1):
        raise click.UsageError(
            f"'{model.name}' gives samples in [0, 1]. Expected images in [-1, 1]."
        )
    if layers is not None and not 0 <= layers <= (depth := _depth(model)):
        raise click.UsageError(f"'{model.name}' has {depth} layers. Received: --layers {layers}")
    return kgl.metrics.sample_batches(model, count, seed, layers)


def _depth(model):
    return model.stack.depth if hasattr(model, "stack") else 0


def _from_export(path, count, seed):
    low, high = kgl.serving.read_metadata(path)["data_range"]
    if (low, high) != (-1, 1):
        raise click.UsageError(
            f"{path} gives samples in [{low}, {high}]. Expected images in [-1, 1]."
        )
    return _served(path, range(seed, seed + count))


def _served(path, seeds, size=64):
    with kgl.serving.connect(path, batch_size=size) as client:
        for start in range(0, len(seeds), size):
            yield client.sample(np.array(seeds[start : start + size]))


def _from_saved_model(path, count, seed):
    """Samples of a generator that was exported by Keras or TensorFlow itself."""
    model = tf.saved_model.load(str(find_version(path)))
    signature = model.signatures.get("serving_default")
    inputs = {} if signature is None else signature.structured_input_signature[1]
    shapes = [tuple(spec.shape) for spec in inputs.values()]
    outputs = [] if signature is None else list(signature.structured_outputs)
    if len(outputs) != 1 or [len(s) for s in shapes] != [2] or shapes[0][1] is None:
        raise click.UsageError(
            f"{path} must have the signature 'serving_default' from latents (batch, d) to images. "
            f"Received: {len(outputs)} outputs for inputs of shapes {shapes}"
        )
    latents = Gaussian(shapes[0][1:]).sample(count, seed=seed)
    (name,), (output,) = inputs, outputs
    return (
        model.signatures["serving_default"](**{name: latents[i : i + 250]})[output]
        for i in range(0, count, 250)
    )
