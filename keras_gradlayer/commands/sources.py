"""What options name: training data, real images, models, and whatever can be scored."""

import contextlib
import functools
import pathlib

import click
import keras
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import _images, _loading
from keras_gradlayer._conditions import on_samples, pair, unpair
from keras_gradlayer.commands import arrays
from keras_gradlayer.commands.demo import TOYS
from keras_gradlayer.data._image_files import unreadable
from keras_gradlayer.data.images import stream_folder
from keras_gradlayer.models.converting import keras_version
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
    """The model in that file, without its optimizers; one of Keras 2 is converted in memory."""
    if not pathlib.Path(path).is_file() and not pathlib.Path(path).is_dir():
        raise click.UsageError(f"There is no file {path}.")
    if pathlib.Path(path).is_dir() and keras_version(path) is None:
        raise click.UsageError(f"Expected a .keras file. Received: the folder {path}")
    if _is_old(path):
        model = kgl.models.convert(path)
        click.echo(f"{path} is of Keras 2: '{model.name}' was converted.")
        return model
    return _loading.load_model(path)


def _is_old(path):
    """Whether a model is one of Keras 2."""
    return pathlib.Path(path).suffix != ".keras" or (keras_version(path) or "3") < "3"


_load = functools.lru_cache(maxsize=1)(load_model)  # one model at several depths


def load_critic(path, output=None):
    """The critic in that file; of one with several outputs, the one of that name or number."""
    critic = load_model(path)
    outputs = getattr(critic, "outputs", None) or [None]
    if output is None and len(outputs) == 1:
        return critic
    names = list(getattr(critic, "output_names", range(len(outputs))))
    known = {**dict(zip(map(str, range(len(outputs))), outputs)), **dict(zip(names, outputs))}
    if output not in known:
        raise click.UsageError(
            f"--critic-output must name the output of {path} that scores, one of "
            f"{', '.join(map(str, names))}. Received: {output}"
        )
    return keras.Model(critic.inputs, known[output], name=critic.name)


def load_data(data, batch_size, seed, sample_shape, value_range=_images.STANDARD, labels=False):
    """The training data of that name, or the images of that folder, shaped like the samples.

    With `labels`, pairs of samples and labels.

    Images are scaled to the range of the generator's output activation, where it has one.
    """
    options = {"batch_size": batch_size, "seed": seed}
    if labels and (data in TOYS or data in ("stacked_mnist", "stl10")):
        raise click.UsageError(f"The GAN is conditional, and --data {data} has no labels.")
    if data in TOYS:
        samples = TOYS[data].load(**options)
    elif data not in IMAGES and not pathlib.Path(data).is_dir():
        names = ", ".join([*IMAGES, *TOYS])
        raise click.UsageError(
            f"--data must be one of {names}, a folder, or a .npy or .npz file. Received: {data}"
        )
    elif len(sample_shape) != 3:
        raise click.UsageError(f"The model's samples, of shape {sample_shape}, are not images.")
    else:
        options |= {"labels": True} if labels else {}
        samples = load_images(data, value_range, sample_shape, **options)
        if _is_other(value_range):
            low, high = value_range
            click.echo(f"The generator's range is [{low:g}, {high:g}]; images are scaled to it.")
    shape = _shape_of(samples)
    if shape != sample_shape:
        raise click.UsageError(
            f"The model's samples have the shape {sample_shape}; those of {data} have {shape}."
        )
    return samples


def load_images(data, value_range, sample_shape, **options):
    """Batches of a data set's or folder's images, in the range and order of a generator's axes."""
    image_shape = _images.channels_last_shape(sample_shape)
    with _naming("--data"):
        if data in IMAGES:
            images = getattr(kgl.data, data)(**options)
        else:
            images = kgl.data.image_folder(data, image_shape, **options)
    images = images.map(on_samples(lambda x: _images.rescaled(x, _images.STANDARD, value_range)))
    if _shape_of(images) == image_shape != sample_shape:
        return images.map(on_samples(lambda x: tf.transpose(x, (0, 3, 1, 2))))
    return images


def _shape_of(data):
    """Of a sample of a data set, of samples or pairs."""
    return tuple(tf.nest.flatten(data.element_spec)[0].shape[1:])


def _is_other(value_range):
    """Whether a range has bounds, and others than -1 and 1."""
    return _images.bounded(value_range) and not np.allclose(value_range, (-1, 1), atol=1e-3)


def load_classifier(source):
    """The classifier in that file or at that URL."""
    old = pathlib.Path(source).is_file() and _is_old(source)
    with _naming("--classifier"):
        return kgl.metrics.Classifier(load_model(source) if old else source)


def make_scorer(classifier, real, count, shape, value_range=_images.STANDARD, labels=False):
    """A scorer against the real images of that name; floats in a file have `value_range`.

    With `labels` it scores by class as well, where the data have them.
    """
    with _naming("--real"):
        images = batches_of(real, count, 0, None, shape, value_range, labels)
        return kgl.metrics.Scorer(classifier, images, count)


def distance_to(held_out):
    """A score without a classifier: how far samples are from those that were held out."""

    def score(samples):
        return {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(held_out, samples)}

    return score


@contextlib.contextmanager
def _naming(option):
    """Say which option names what cannot be read."""
    try:
        yield
    except (click.UsageError, ValueError) as e:
        raise click.UsageError(f"{option}: {e}") from e


def batches_of(
    source,
    count,
    seed,
    layers=None,
    image_shape=None,
    value_range=_images.STANDARD,
    labels=False,
):
    """Batches of up to `count` images in [-1, 1] from whatever `source` names.

    It is a `.keras` file, of which `layers` gradient layers are applied, a SavedModel's folder, a
    folder of images to resize to `image_shape`, an array's file, of bytes or of floats in
    `value_range`, or a data set such as "cifar10" or "cifar10:test".
    """
    path = pathlib.Path(source)
    name, _, split = source.partition(":")
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return _from_model(_load(source), count, seed, layers)
    if layers is not None:
        raise click.UsageError(f"--layers is for .keras files of samplers. Received: {source}")
    if name in IMAGES:
        options = {"split": split} if split else {}
        options |= {"labels": True} if labels and name in ("cifar10", "mnist") else {}
        # Single images first: a batch that is not full would be dropped.
        with _naming(source):
            return getattr(kgl.data, name)(batch_size=1, shuffle=False, **options).rebatch(250)
    if arrays.is_array(source):
        return _from_array(source, count, image_shape, value_range)
    if not path.is_dir():
        names = ", ".join(IMAGES)
        raise click.UsageError(
            "Expected a .keras file, the folder of a SavedModel, a folder of images, a .npy file, "
            "or one "
            f"of {names}, such as cifar10:test. Received: {source}"
        )
    if path.joinpath("saved_model.pb").exists() or list(path.glob("[0-9]*/saved_model.pb")):
        return _from_saved_model(source, count, seed)
    if image_shape is None:
        raise click.UsageError(f"--image-size is needed for the folder of images {source}.")
    with _naming(source):
        images = stream_folder(source, _images.channels_last_shape(image_shape), count)
    return _readable(images, source)


def _from_array(source, count, image_shape, value_range):
    x = arrays.load_array(source, image_shape)
    x = x[np.random.default_rng(0).permutation(len(x))[:count]]
    value_range = value_range if x.dtype != "uint8" else _images.STANDARD
    parts = (arrays.in_range(x[i : i + 250], value_range) for i in range(0, len(x), 250))
    return (_images.rescaled(part, value_range) for part in parts)


def _from_model(model, count, seed, layers):
    last = getattr(model, "generator", None) or getattr(model, "head", model)
    depth = model.stack.depth if hasattr(model, "stack") else 0
    if layers is not None and layers > depth:
        raise click.UsageError(f"'{model.name}' has {depth} layers. Received: --layers {layers}")
    batches = kgl.metrics.sample_batches(model, count, seed, layers)
    return _standard(batches, output_range(last))


def _standard(batches, value_range):
    """Samples of a generator of this range, in [-1, 1]."""
    return (pair(_images.rescaled(x, value_range), c) for x, c in map(unpair, batches))


def _from_saved_model(path, count, seed):
    """Samples of an exported sampler, or of a generator that Keras or TensorFlow exported."""
    folder = find_version(path)
    if (folder / FILE).is_file():
        sampler = kgl.serving.SeededSampler(path)
        drawn = (samples for _, samples in sampler.blocks(seed, seed + count))
        return _standard(drawn, sampler.facts["data_range"])
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
        raise click.UsageError(
            f"Expected image files in '{folder}'. Received: {unreadable(folder)}"
        ) from e
