"""What the command line scores: saved models, exported ones, folders of images, data sets."""

import functools
import pathlib

import click
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.options import IMAGES, load_model


def batches_of(source, count, seed, layers=None, image_size=None):
    """Images in [-1, 1] from whatever `source` names, batch by batch.

    Args:
        source: a `.keras` file, an exported sampler's folder, a folder of images, or the name of an
            image data set, with or without a split, such as "cifar10:test".
        count: how many to take, at most.
        seed: integer that latents follow from.
        layers: how many gradient layers to apply, where `source` is a sampler.
        image_size: side of the images of a folder, which are resized to it.
    """
    path = pathlib.Path(source)
    name, _, split = source.partition(":")
    if path.suffix == ".keras":
        return _from_model(_load(source), count, seed, layers)
    if layers is not None:
        raise click.UsageError(f"--layers is for .keras files of samplers. Received: {source}")
    if name in IMAGES:
        options = {"split": split} if split else {}
        return IMAGES[name](batch_size=_divisor(count), shuffle=False, **options)
    if not path.is_dir():
        names = ", ".join(IMAGES)
        raise click.UsageError(
            "Expected a .keras file, the folder of an exported sampler, a folder of images, or one "
            f"of {names}, such as cifar10:test. Received: {source}"
        )
    if path.joinpath("saved_model.pb").exists() or list(path.glob("[0-9]*/saved_model.pb")):
        return _from_export(source, count, seed)
    if image_size is None:
        raise click.UsageError(f"--image-size is needed for the folder of images {source}.")
    # Shuffled, always alike: the first files of a folder are often those of one class.
    return kgl.data.image_folder(source, (image_size, image_size, 3), batch_size=1, seed=0)


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


def _divisor(count):
    """A batch size that leaves none of `count` images out."""
    return max(d for d in range(1, 251) if count % d == 0)
