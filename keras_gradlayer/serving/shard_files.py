"""The files of a shard, here or on an object store, which have their names when they are whole."""

import contextlib
import os
import posixpath
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

PART = ".part"
_DONE = "_SUCCESS"  # Hadoop's name for what says that a folder is whole

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]


def is_whole(path: str, format: str) -> bool:
    """Whether the shard of that path, which has no suffix, has been written."""
    return tf.io.gfile.exists(posixpath.join(path, _DONE) if format == "png" else _records(path))


def write_records(
    path: str, blocks: Blocks, sample_shape: Sequence[int], advance: Callable[[int], object]
) -> None:
    """Write a file of a `tf.train.Example` a sample."""
    path = _records(path)
    clear(*posixpath.split(path))
    with _whole(path) as draft:
        with tf.io.TFRecordWriter(draft) as writer:
            for seeds, samples in blocks:
                for seed, sample in zip(seeds, samples):
                    writer.write(_example(seed, sample, sample_shape))
                advance(len(seeds))
        if "://" not in draft:
            with open(draft, "r+b") as f:
                os.fsync(f.fileno())  # a file with its name is whole after a power cut, too


def write_pngs(path: str, blocks: Blocks, advance: Callable[[int], object]) -> None:
    """Write a folder of a file a sample; file by file, for stores that cannot rename folders."""
    tf.io.gfile.makedirs(path)
    clear(path)
    there = set(tf.io.gfile.listdir(path))
    for seeds, pngs in blocks:
        for seed, png in zip(seeds, pngs):
            if (name := f"{seed:010d}.png") not in there:
                put(posixpath.join(path, name), png)
        advance(len(seeds))
    put(posixpath.join(path, _DONE), b"")


def put(path: str, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    with _whole(path) as draft, tf.io.gfile.GFile(draft, "wb") as f:
        f.write(content)


def clear(folder: str, name: str = "") -> None:
    """Take away what killed writers left of that file, or of every file in the folder."""
    for draft in tf.io.gfile.listdir(folder):
        if draft.endswith(f"{name}{PART}"):
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(posixpath.join(folder, draft))


def _records(path):
    return f"{path}.tfrecord"


@contextlib.contextmanager
def _whole(path: str) -> Iterator[str]:
    """A name to write to, which becomes `path` at the end.

    If another writer was faster, its file stays, which has the same bytes.
    """
    folder, name = posixpath.split(path)
    # The name last: some stores take a path for there where it is the beginning of another.
    draft = posixpath.join(folder, f"{uuid.uuid4().hex}.{name}{PART}")
    try:
        yield draft
        tf.io.gfile.rename(draft, path)
    except BaseException as e:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(draft)
        if not isinstance(e, tf.errors.AlreadyExistsError):
            raise


def _example(seed, sample, sample_shape):
    """A record; images have the names that TensorFlow's own data sets of images have."""
    if isinstance(sample, bytes):
        values = {
            "image/encoded": [sample],
            "image/format": [b"png"],
            "image/height": sample_shape[:1],
            "image/width": sample_shape[1:2],
        }
    else:
        values = {"sample": sample.ravel(), "sample/shape": sample.shape}
    features = {name: _feature(v) for name, v in {**values, "seed": [seed]}.items()}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)  # else a map has no order


def _feature(values):
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], np.floating):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
