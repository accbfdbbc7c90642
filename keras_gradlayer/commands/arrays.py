"""Samples in .npy and .npz files."""

import pathlib

import click
import numpy as np
import tensorflow as tf

from keras_gradlayer import _images
from keras_gradlayer.data._batching import batches_of
from keras_gradlayer.trainers._data import check_finite

_NAMES = ("x", "x_train", "data")


def is_array(path):
    """Whether a path names a file of samples."""
    return pathlib.Path(path).suffix in (".npy", ".npz")


def load_array(path, sample_shape):
    """The samples of a file, floats or bytes, in the shape of a model's.

    Of an .npz file they are its only array, or "x". Grey images may come without channels.
    """
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise click.UsageError(f"{path} cannot be read: {e}") from e
    if not isinstance(x, np.ndarray):
        with x as archive:
            names = [n for n in _NAMES if n in archive][:1] or archive.files
            if len(names) != 1:
                raise click.UsageError(
                    f"{path} must hold the samples as 'x'. Received: {', '.join(names) or 'none'}"
                )
            x = archive[names[0]]
    if x.dtype != "uint8" and x.dtype.kind != "f":
        raise click.UsageError(f"{path} must hold floats, or images of uint8. Received: {x.dtype}")
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


def in_range(x, value_range):
    """Float32 samples: bytes are scaled to a generator's range, floats are as they are."""
    target = value_range if _images.bounded(value_range) else _images.STANDARD
    scaled = tf.cast(x, "float32")
    return _images.rescaled(scaled, (0, 255), target) if x.dtype == "uint8" else scaled


def batches(x, batch_size, seed, value_range):
    """Training data of an array: full batches, shuffled."""
    if batch_size > len(x):
        raise click.UsageError(f"--batch-size is {batch_size}, and --data has {len(x)} samples.")
    data = batches_of(x, batch_size, seed=seed)
    return data.map(lambda rows: in_range(rows, value_range)).prefetch(tf.data.AUTOTUNE)


def hold_out(x):
    """Samples to train on, and a tenth (of 10,000 at most) that are held out."""
    rows = np.random.default_rng(0).permutation(len(x))
    count = min(-(-len(x) // 10), 10_000)
    return x[np.sort(rows[count:])], x[np.sort(rows[:count])]
