"""What the options of the command line name: data sets, models, methods, numbers."""

import contextlib
import inspect
import pathlib

import click
import keras

import keras_gradlayer as kgl
from keras_gradlayer.demo import TOYS

IMAGES = {
    "cifar10": kgl.data.cifar10,
    "mnist": kgl.data.mnist,
    "stl10": kgl.data.stl10,
    "stacked_mnist": kgl.data.stacked_mnist,
}
IMAGE_SHAPES = {
    "cifar10": (32, 32, 3),
    "mnist": (28, 28, 1),
    "stl10": (48, 48, 3),
    "stacked_mnist": (28, 28, 3),
}
METHODS = {
    "wgan-gp": kgl.presets.wgan_gp,
    "wgan": kgl.presets.wgan,
    "dragan": kgl.presets.dragan,
}

seed_option = click.option(
    "--seed", default=0, show_default=True, help="Everything random follows it."
)
out_option = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write to, new or empty.",
)
batch_option = click.option(
    "--batch-size", default=64, show_default=True, type=click.IntRange(1), help="b, samples a step."
)


def load_data(data, batch_size, seed, sample_shape):
    """The training data of that name, or the images of that folder, in the model's shape."""
    if data in IMAGES:
        samples = IMAGES[data](batch_size=batch_size, seed=seed)
    elif data in TOYS:
        samples = TOYS[data].load(batch_size=batch_size, seed=seed)
    elif not pathlib.Path(data).is_dir():
        names = ", ".join([*IMAGES, *TOYS])
        raise click.UsageError(f"--data must be one of {names}, or a folder. Received: {data}")
    elif len(sample_shape) != 3:
        raise click.UsageError(f"The model's samples, of shape {sample_shape}, are not images.")
    else:
        samples = kgl.data.image_folder(data, sample_shape, batch_size=batch_size, seed=seed)
    shape = tuple(samples.element_spec.shape[1:])
    if shape != sample_shape:
        raise click.UsageError(
            f"The model's samples have the shape {sample_shape}; those of {data} have {shape}."
        )
    return samples


def load_model(path):
    """The model in that file."""
    if pathlib.Path(path).is_dir():
        raise click.UsageError(f"Expected a .keras file. Received: the folder {path}")
    if not pathlib.Path(path).is_file():
        raise click.UsageError(f"There is no file {path}.")
    return keras.saving.load_model(path)


def make_preset(method, **settings):
    """The method's preset with these settings, those that are None left at its own."""
    settings = {name: value for name, value in settings.items() if value is not None}
    make = METHODS[method]
    for name in settings.keys() - inspect.signature(make).parameters:
        raise click.UsageError(f"--{name.replace('_', '-')} is not for --method {method}.")
    return make(**settings)


def parse_score(text):
    """NAME=VALUE as a pair."""
    name, _, value = text.partition("=")
    with contextlib.suppress(ValueError):
        return name, float(value)
    raise click.UsageError(f"--score must be NAME=VALUE, with a number. Received: {text}")


def parse_particles(text):
    """A number, "auto", or "none" as `None`."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    with contextlib.suppress(ValueError):
        return int(text)
    raise click.UsageError(f'--particles must be "auto", "none" or a number. Received: {text}')
