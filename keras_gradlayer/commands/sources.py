"""What options name: training data, real images, models, and whatever can be scored."""

import contextlib
import functools
import pathlib

import click
import keras
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.commands.demo import TOYS
from keras_gradlayer.data.images import stream_folder
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.serving.metadata import FILE
from keras_gradlayer.serving.versions import find_version

IMAGES = {
    "cifar10": (32, 32, 3),
    "mnist": (28, 28, 1),
    "stl10": (48, 48, 3),
    "stacked_mnist": (28, 28, 3),
}
"""Shapes of the images of `kgl.data`, all in [-1, 1]."""


def load_model(path):
    """The model in that file, without its optimizers."""
    if pathlib.Path(path).is_dir():
        raise click.UsageError(f"Expected a .keras file. Received: the folder {path}")
    if not pathlib.Path(path).is_file():
        raise click.UsageError(f"There is no file {path}.")
    try:
        return keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError) as e:
        raise click.UsageError(f"{path} cannot be loaded. Keras said: {e}") from e


_load = functools.lru_cache(maxsize=1)(load_model)  # one model at several depths


def load_data(data, batch_size, seed, sample_shape, value_range=(-1, 1)):
    """The training data of that name, or the images of that folder, shaped like the samples.

    Images are scaled to the range of the generator's output activation, where it has one.
    """
    options = {"batch_size": batch_size, "seed": seed}
    if data in TOYS:
        samples = TOYS[data].load(**options)
    elif data not in IMAGES and not pathlib.Path(data).is_dir():
        names = ", ".join([*IMAGES, *TOYS])
        raise click.UsageError(f"--data must be one of {names}, or a folder. Received: {data}")
    elif len(sample_shape) != 3:
        raise click.UsageError(f"The model's samples, of shape {sample_shape}, are not images.")
    else:
        samples = load_images(data, value_range, sample_shape, **options)
        if _is_other(value_range):
            low, high = value_range
            click.echo(f"The generator's range is [{low:g}, {high:g}]; images are scaled to it.")
    shape = tuple(samples.element_spec.shape[1:])
    if shape != sample_shape:
        raise click.UsageError(
            f"The model's samples have the shape {sample_shape}; those of {data} have {shape}."
        )
    return samples


def load_images(data, value_range, image_shape=None, **options):
    """Batches of a data set's or folder's images, in the range of a generator."""
    with _naming("--data"):
        if data in IMAGES:
            images = getattr(kgl.data, data)(**options)
        else:
            images = kgl.data.image_folder(data, image_shape, **options)
    if not _is_other(value_range):
        return images
    low, high = value_range
    return images.map(lambda x: low + (x + 1) * ((high - low) / 2))


def _is_other(value_range):
    """Whether a range has bounds, and others than -1 and 1."""
    return bool(np.isfinite(value_range).all()) and not np.allclose(value_range, (-1, 1), atol=1e-3)


def check_scored(name, value_range):
    """Check that samples can go to a classifier, which takes images in [-1, 1]."""
    low, high = bounds = np.array(value_range, float)  # NaN for an unknown bound
    if np.any(np.isfinite(bounds) & ~np.isclose(bounds, (-1, 1), atol=1e-3)):
        raise click.UsageError(
            f"{name} gives samples in [{low:g}, {high:g}]. Expected images in [-1, 1]."
        )


def make_scorer(classifier, real, count, shape):
    """A scorer against the real images of that name."""
    with _naming("--real"):
        return kgl.metrics.Scorer(classifier, batches_of(real, count, 0, image_shape=shape), count)


@contextlib.contextmanager
def _naming(option):
    """Say which option names what cannot be read."""
    try:
        yield
    except (click.UsageError, ValueError) as e:
        raise click.UsageError(f"{option}: {e}") from e


def batches_of(source, count, seed, layers=None, image_shape=None):
    """Batches of up to `count` images in [-1, 1] from whatever `source` names.

    It is a `.keras` file, of which `layers` gradient layers are applied, a SavedModel's folder, a
    folder of images to resize to `image_shape`, or a data set such as "cifar10" or "cifar10:test".
    """
    path = pathlib.Path(source)
    name, _, split = source.partition(":")
    if path.suffix == ".keras":
        return _from_model(_load(source), count, seed, layers)
    if layers is not None:
        raise click.UsageError(f"--layers is for .keras files of samplers. Received: {source}")
    if name in IMAGES:
        options = {"split": split} if split else {}
        # Single images first: a batch that is not full would be dropped.
        return getattr(kgl.data, name)(batch_size=1, shuffle=False, **options).rebatch(250)
    if not path.is_dir():
        names = ", ".join(IMAGES)
        raise click.UsageError(
            "Expected a .keras file, the folder of a SavedModel, a folder of images, or one "
            f"of {names}, such as cifar10:test. Received: {source}"
        )
    if path.joinpath("saved_model.pb").exists() or list(path.glob("[0-9]*/saved_model.pb")):
        return _from_saved_model(source, count, seed)
    if image_shape is None:
        raise click.UsageError(f"--image-size is needed for the folder of images {source}.")
    with _naming(source):
        images = stream_folder(source, image_shape, count)
    return _readable(images, source)


def _from_model(model, count, seed, layers):
    last = getattr(model, "generator", None) or getattr(model, "head", model)
    check_scored(f"'{model.name}'", output_range(last))
    depth = model.stack.depth if hasattr(model, "stack") else 0
    if layers is not None and layers > depth:
        raise click.UsageError(f"'{model.name}' has {depth} layers. Received: --layers {layers}")
    return kgl.metrics.sample_batches(model, count, seed, layers)


def _from_saved_model(path, count, seed):
    """Samples of an exported sampler, or of a generator that Keras or TensorFlow exported."""
    folder = find_version(path)
    if (folder / FILE).is_file():
        sampler = kgl.serving.SeededSampler(path)
        check_scored(path, sampler.facts["data_range"])
        return (samples for _, samples in sampler.blocks(seed, seed + count))
    model = tf.saved_model.load(str(folder))
    signature = model.signatures.get("serving_default")
    inputs = {} if signature is None else signature.structured_input_signature[1]
    shapes = [tuple(spec.shape) for spec in inputs.values()]
    outputs = [] if signature is None else list(signature.structured_outputs)
    if len(outputs) != 1 or [len(s) for s in shapes] != [2] or shapes[0][1] is None:
        raise click.UsageError(
            f"{folder} must have the signature 'serving_default' from latents (batch, d) to images."
            f" Received: {len(outputs)} outputs for inputs of shapes {shapes}"
        )
    latents = kgl.latents.Gaussian(shapes[0][1:]).sample(count, seed=seed)
    (name,), (output,) = inputs, outputs
    return (
        model.signatures["serving_default"](**{name: latents[i : i + 250]})[output]
        for i in range(0, count, 250)
    )


def _readable(images, folder):
    try:
        yield from images
    except tf.errors.InvalidArgumentError as e:
        raise click.UsageError(f"{folder} has a file that is no image: {e.message}") from e
