"""Samples in .npy and .npz files."""

import contextlib
import pathlib
import zipfile
import zlib

import click
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks, _images
from keras_gradlayer._conditions import call, on_samples, pair, to_spec, unpair
from keras_gradlayer.data._batching import batches_of
from keras_gradlayer.trainers._data import check_finite

_NAMES = ("x", "x_train", "data")
_LABELS = ("condition", "conditions", "labels", "label", "y", "y_train")
# What NumPy raises for files that are damaged or claim too much, and zipfile (a RuntimeError) for
# archives that have a password or a compression which it lacks.
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def is_array(path):
    """Whether a path names a file of samples."""
    return pathlib.Path(path).suffix in (".npy", ".npz")


def load_array(path, sample_shape):
    """The samples of a file, floats or bytes, in the shape of a model's, or `None` for theirs.

    Of an .npz file they are its only array, or "x". Grey images may come without channels.
    """
    x = _read(path, _NAMES, "samples")
    if x.dtype != "uint8" and x.dtype.kind != "f":
        raise click.UsageError(f"{path} must hold floats, or images of uint8. Received: {x.dtype}")
    if sample_shape is None:  # as they are
        sample_shape = x.shape[1:]
    if x.ndim and (*x.shape[1:], 1) == sample_shape:
        x = x[..., None]
    if not len(x.shape) or x.shape[1:] != sample_shape or not len(x):
        raise click.UsageError(
            f"The model's samples have the shape {sample_shape}. Expected an array of shape "
            f"(n, {str(sample_shape)[1:].replace(',)', ')')}. Received: {x.shape} in {path}"
        )
    if x.dtype != "uint8":
        check_finite(x)
    return x


def load_labels(path, count, tuner):
    """The conditions of a file, as a tuner's models take them, one for each of `count` samples.

    Of an .npz file they are "condition", "labels" or "y".
    """
    labels = _read(path, _LABELS, "conditions")
    if len(labels) != count:
        raise click.UsageError(
            f"Expected a condition for each of the {count} samples. "
            f"Received: {len(labels)} in {path}"
        )
    labels = to_spec(labels, tuner.condition_spec).numpy()
    if labels.dtype.kind in "iu":  # classes: those that an embedding lacks
        classes = tf.constant(np.unique(labels, axis=0))
        with told(f"{path} must hold classes that the generator and the critic take"):
            samples = tuner([tuner.latent.sample(len(classes), seed=0), classes], layers=0)
            call(tuner.critic, samples, classes)
    return labels


@contextlib.contextmanager
def told(expected):
    """Say what was expected where TensorFlow finds a class out of range."""
    try:
        yield
    except tf.errors.InvalidArgumentError as e:
        raise click.UsageError(f"{expected}. TensorFlow said: {e.message}") from e


def _read(path, names, what):
    """The array of an .npy file, or one of these names of an .npz file, or its only one."""
    if pathlib.Path(path).exists() and not pathlib.Path(path).is_file():
        raise click.UsageError(f"Expected a .npy or .npz file. Received: {path}, which is none")
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(x, np.ndarray):
            return x
        with x as archive:
            found = [n for n in names if n in archive][:1] or archive.files
            if len(found) == 1:
                size = archive.zip.getinfo(f"{found[0]}.npy").file_size  # zeros pack to nothing
                _checks.fits_memory(found[0], "an array", size)
                return archive[found[0]]
    except _UNREADABLE as e:
        raise click.UsageError(f"{path} cannot be read: {e}") from e
    raise click.UsageError(
        f"{path} must hold the {what} as '{names[0]}'. Received: {', '.join(found) or 'none'}"
    )


def in_range(x, value_range):
    """Float32 samples: bytes are scaled to a generator's range, floats are as they are."""
    target = value_range if _images.bounded(value_range) else _images.STANDARD
    scaled = tf.cast(x, "float32")
    return _images.rescaled(scaled, (0, 255), target) if x.dtype == "uint8" else scaled


def batches(x, batch_size, seed, value_range):
    """Training data of an array, or of (samples, conditions): full batches, shuffled."""
    count = len(unpair(x)[0])
    if batch_size > count:
        raise click.UsageError(
            f"--batch-size is {batch_size}, and --data has {count} samples to train on (a tenth is "
            "held out where nothing else is given to score against)."
        )
    data = batches_of(x, batch_size, seed=seed)
    return data.map(on_samples(lambda x: in_range(x, value_range))).prefetch(tf.data.AUTOTUNE)


def some(x, count):
    """Up to `count` rows, drawn at random: a file may be sorted."""
    rows = np.random.default_rng(1).permutation(len(x))[:count]
    return x[np.sort(rows)]


def hold_out(x):
    """Samples to train on, and a tenth (of 10,000 at most) that are held out; or pairs of them."""
    rows = np.random.default_rng(0).permutation(len(unpair(x)[0]))
    count = min(-(-len(rows) // 10), 10_000)
    parts = np.sort(rows[count:]), np.sort(rows[:count])
    samples, labels = unpair(x)
    return tuple(pair(samples[p], None if labels is None else labels[p]) for p in parts)
