"""The files of a shard, local or on an object store; each gets its name when it is complete."""

import contextlib
import os
import posixpath
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

PART = ".part"
_DONE = "_SUCCESS"  # Hadoop's mark of a complete folder
_RECORDS = ".tfrecord"

Blocks = Iterable[tuple[np.ndarray, np.ndarray]]


def is_complete(path: str, format: str) -> bool:
    """Whether the shard of that path, without its suffix, has been written."""
    return tf.io.gfile.exists(posixpath.join(path, _DONE) if format == "png" else path + _RECORDS)


def write_records(
    path: str, blocks: Blocks, sample_shape: Sequence[int], advance: Callable[[int], object]
) -> None:
    """Write one file, a `tf.train.Example` a sample."""
    path += _RECORDS
    clear(*posixpath.split(path))
    with _complete(path) as draft:
        with tf.io.TFRecordWriter(draft) as writer:
            for seeds, samples in blocks:
                for seed, sample in zip(seeds, samples):
                    writer.write(_example(seed, sample, sample_shape))
                advance(len(seeds))
        if "://" not in draft:
            with open(draft, "r+b") as f:
                os.fsync(f.fileno())  # a file with its name is complete after a power cut, too


def write_pngs(path: str, blocks: Blocks, advance: Callable[[int], object]) -> None:
    """Write a folder, a file a sample; file by file, for stores that cannot rename folders."""
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
    """Write a file that is there completely or not at all."""
    with _complete(path) as draft, tf.io.gfile.GFile(draft, "wb") as f:
        f.write(content)


def clear(folder: str, name: str = "") -> None:
    """Remove what killed writers left of that file, or of every file in the folder.

    A writer that still runs cannot be told from a killed one: it fails, and its shard is written
    by whoever came after it.
    """
    for draft in tf.io.gfile.listdir(folder):
        if draft.endswith(f"{name}{PART}"):
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(posixpath.join(folder, draft))


@contextlib.contextmanager
def _complete(path: str) -> Iterator[str]:
    """A name to write to, renamed to `path` at the end.

    If another writer was faster, its file stays, which has the same bytes.
    """
    folder, name = posixpath.split(path)
    # The name last: some stores report a path that another one begins with as there.
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
    """A record; images have the field names of TensorFlow's own image data sets."""
    example = tf.train.Example()
    feature = example.features.feature
    feature["seed"].int64_list.value.append(seed)
    if isinstance(sample, bytes):
        feature["image/encoded"].bytes_list.value.append(sample)
        feature["image/format"].bytes_list.value.append(b"png")
        feature["image/height"].int64_list.value.append(sample_shape[0])
        feature["image/width"].int64_list.value.append(sample_shape[1])
    else:
        feature["sample"].float_list.value.extend(sample.ravel())
        feature["sample/shape"].int64_list.value.extend(sample.shape)
    return example.SerializeToString(deterministic=True)  # else a map has no order
