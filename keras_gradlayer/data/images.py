"""Image data sets, from TensorFlow Datasets and from folders."""

import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from keras_gradlayer import _checks
from keras_gradlayer._conditions import pair, unpair
from keras_gradlayer.data._batching import batches_of
from keras_gradlayer.data._downloading import read
from keras_gradlayer.data._image_files import images_of, unreadable


def cifar10(
    split: str = "train",
    batch_size: int = 64,
    seed: int = 0,
    shuffle: bool = True,
    data_dir: str | None = None,
    labels: bool = False,
) -> tf.data.Dataset:
    """CIFAR-10: 32x32 colour images, float32 batches (batch_size, 32, 32, 3) in [-1, 1].

    They are kept in memory as bytes and scaled batch by batch. Where the data set is missing it is
    downloaded, once.

    Args:
        split: a TFDS split, such as "train", "test" or "train[:1000]".
        batch_size: images in a batch; the last, smaller one is dropped.
        seed: integer of at least 0 that fixes the order of each epoch.
        shuffle: whether to shuffle at each epoch.
        data_dir: where TFDS keeps its data; `TFDS_DATA_DIR` or its own default if `None`.
        labels: whether to give (images, labels), the labels int64 of shape (batch_size,), as
            conditional GANs take them.

    Raises:
        ValueError: if there is no full batch, or `seed` is no integer of at least 0.
        ImportError: if TensorFlow Datasets cannot be imported.
        FileNotFoundError: if the data set is not there and cannot be downloaded; what was begun is
            removed.

    Example:
        >>> next(iter(cifar10(batch_size=8))).shape
        TensorShape([8, 32, 32, 3])
    """
    return _images("cifar10", split, batch_size, seed, shuffle, data_dir, labels)


def mnist(split: str = "train", **options) -> tf.data.Dataset:
    """MNIST: 28x28 grey digits, batches (batch_size, 28, 28, 1). Otherwise as `cifar10`.

    Example:
        >>> images, classes = next(iter(mnist("test", batch_size=8, labels=True)))
        >>> images.shape, classes.shape
        (TensorShape([8, 28, 28, 1]), TensorShape([8]))
    """
    return _images("mnist", split, **options)


def stl10(split: str = "unlabelled", **options) -> tf.data.Dataset:
    """STL-10, downsampled to 48x48, batches (batch_size, 48, 48, 3). Otherwise as `cifar10`.

    The unlabelled split by default. Each pixel is the mean of the 2x2 pixels it covers, rounded to
    a byte. Source: the experiments of Nitanda & Suzuki (2018, section 7).

    Example:
        >>> next(iter(stl10(batch_size=8))).shape
        TensorShape([8, 48, 48, 3])
    """

    def halve(image):
        image = tf.image.resize(image, (48, 48), method="area")
        return tf.cast(tf.round(image), "uint8")

    return _images("stl10", split, prepare=halve, **options)


def stacked_mnist(
    split: str = "train",
    batch_size: int = 64,
    seed: int = 0,
    shuffle: bool = True,
    data_dir: str | None = None,
) -> tf.data.Dataset:
    """Three MNIST digits as the channels of an image: 1,000 modes, batches (batch_size, 28, 28, 3).

    An epoch has as many images as MNIST; each is three digits drawn independently, without
    replacement within a channel. Without `shuffle` the three are a digit and its two successors.
    Otherwise as `cifar10`.

    Source: Metz et al., "Unrolled Generative Adversarial Networks", ICLR 2017, section 3.3.1.

    Example:
        >>> next(iter(stacked_mnist(batch_size=8))).shape
        TensorShape([8, 28, 28, 3])
    """
    images, _ = _load("mnist", split, batch_size, seed, data_dir)
    data = tf.data.Dataset.from_tensor_slices(images)
    if shuffle:
        channels = [data.shuffle(len(images), seed=(3 * seed + i) % 2**63) for i in range(3)]
    else:
        channels = [tf.data.Dataset.from_tensor_slices(np.roll(images, -i, 0)) for i in range(3)]
    stacked = tf.data.Dataset.zip(*channels).map(lambda *x: tf.concat(x, axis=-1))
    return _scaled(stacked.batch(batch_size, drop_remainder=True))


def image_folder(
    directory: str | os.PathLike,
    image_shape: tuple[int, int, int],
    batch_size: int = 64,
    seed: int = 0,
    shuffle: bool = True,
    labels: bool = False,
) -> tf.data.Dataset:
    """Your own image files, float32 batches (batch_size, *image_shape) in [-1, 1].

    Args:
        directory: folder that holds the files, at any depth.
        image_shape: (height, width, channels) to resize to; 1 or 3 channels.
        batch_size: images in a batch; the last, smaller one is dropped.
        seed: integer of at least 0 that fixes the order of each epoch.
        shuffle: whether to shuffle at each epoch.
        labels: whether to give (images, labels): the folder has a folder a class, and a label is
            the number of its name in alphabetical order.

    Raises:
        ValueError: if the folder has fewer images than a batch, a file that is no image or one of
            more than 2**26 pixels (8192 x 8192), for another number of channels, or if `seed` is no
            integer of at least 0.

    Example:
        >>> for i in range(3):
        ...     keras.utils.save_img(tmp_path / f"{i}.png", np.zeros((9, 12, 3)), scale=False)
        >>> next(iter(image_folder(tmp_path, (8, 8, 3), batch_size=2))).shape
        TensorShape([2, 8, 8, 3])
    """
    _checks.positive_int("batch_size", batch_size)
    _checks.seed(seed, negative=False)
    data = _read_images(directory, image_shape, shuffle=False, labels=labels)
    try:
        images = _in_memory(f"'{directory}'", data, batch_size)
    except tf.errors.InvalidArgumentError as e:
        raise ValueError(
            f"Expected image files in '{directory}'. Received: {unreadable(directory)}"
        ) from e
    return _scaled(batches_of(images, batch_size, shuffle, seed))


def stream_folder(
    directory: str | os.PathLike, image_shape: tuple[int, int, int], count: int
) -> tf.data.Dataset:
    """Batches of up to `count` images of a folder in [-1, 1], read as they are used.

    Shuffled by a fixed seed, since the first files of a folder are often of one class.
    """
    return _scaled(_read_images(directory, image_shape, shuffle=True).take(count).batch(250))


def _read_images(directory, image_shape, shuffle, labels=False):
    """Single images as bytes, read as they are used; with labels, pairs."""
    _checks.path("directory", directory)
    height, width, channels = _checks.image_shape(image_shape)
    if channels not in (1, 3):
        raise ValueError(f"`image_shape` must end with 1 or 3 channels. Received: {image_shape}")
    folder = pathlib.Path(directory)
    if not folder.is_dir():
        raise ValueError(f"`directory` must be a folder of images. Received: {folder}")
    images_of(folder)
    data = keras.utils.image_dataset_from_directory(
        directory,
        labels="inferred" if labels else None,
        color_mode="grayscale" if channels == 1 else "rgb",
        batch_size=None,
        image_size=(height, width),
        crop_to_aspect_ratio=True,
        verbose=False,
        shuffle=shuffle,
        seed=0,
    )
    return data.map(lambda x, *label: pair(tf.cast(tf.round(x), "uint8"), *label or [None]))


def _images(
    name,
    split,
    batch_size=64,
    seed=0,
    shuffle=True,
    data_dir=None,
    labels=False,
    prepare=tf.identity,
):
    for option, value in (("shuffle", shuffle), ("labels", labels)):
        _checks.boolean(option, value)
    images, classes = _load(name, split, batch_size, seed, data_dir, prepare)
    return _scaled(batches_of((images, classes) if labels else images, batch_size, shuffle, seed))


def _load(name, split, batch_size, seed, data_dir, prepare=tf.identity):
    """All images of a data set, as bytes, and their labels."""
    _checks.positive_int("batch_size", batch_size)
    _checks.seed(seed, negative=False)
    if data_dir is not None:
        _checks.path("data_dir", data_dir)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)  # TFDS logs errors of its import, and goes on without
    try:
        from tensorflow_datasets import builder
    except Exception as e:  # of any kind, such as a clash over protobuf
        raise ImportError(
            "kgl.data.cifar10, mnist, stacked_mnist and stl10 need TensorFlow Datasets, which "
            f"cannot be imported ({e}): pip install 'keras-gradlayer[data]'"
        ) from e
    finally:
        logging.set_verbosity(verbosity)
    _checks.instance_of("split", split, str, "the name of a split, such as 'train[:1000]'")
    made = builder(name, data_dir=data_dir)
    try:
        data = read(made, split)
        count = len(data)
    except (ValueError, AssertionError) as e:  # an unknown split, or one of no images
        raise ValueError(
            f"`split` must name images of {name}, as 'train' or 'test[:1000]' do. "
            f"Received: split={split!r}. TensorFlow Datasets said: {e}"
        ) from e
    if not count:
        raise ValueError(
            f"`split` must name images of {name}. Received: split={split!r}, which has none"
        )
    images = data.map(
        lambda x: (prepare(x["image"]), x["label"]), num_parallel_calls=tf.data.AUTOTUNE
    )
    return _in_memory(f"{name}[{split!r}]", images, batch_size)


def _in_memory(name, data, batch_size):
    batches = map(unpair, data.batch(1000).as_numpy_iterator())
    images, labels = zip(*batches)
    images = np.concatenate(images)
    if batch_size > len(images):
        raise ValueError(
            "`batch_size` must be at most the number of images. "
            f"Received: batch_size={batch_size} for {len(images)} images of {name}"
        )
    return pair(images, None if labels[0] is None else np.concatenate(labels))


def _scaled(data):
    """Bytes to [-1, 1]."""

    def scale(x, *label):
        return pair(tf.cast(x, "float32") / 127.5 - 1.0, *label or [None])

    data = data.map(scale, tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)
