"""What a run reads, told from other things of the same name."""

import hashlib
import pathlib

import keras_gradlayer as kgl
from keras_gradlayer._files import sha256
from keras_gradlayer.commands.sources import IMAGES, TOYS

_SOURCES = ("data", "generator", "critic", "labels", "classifier", "real")


def fingerprints(settings):
    """The SHA-256 of each file and folder that the settings name; of a data set, of 20 images."""
    named = {name: settings.get(name) for name in _SOURCES}
    return {
        f"{name}_sha256": _images(source) if source in IMAGES else _files(pathlib.Path(source))
        for name, source in named.items()
        if source is not None and source not in TOYS and (source in IMAGES or _exists(source))
    }


def _exists(source):
    return pathlib.Path(source).exists()


def _images(name):
    data = getattr(kgl.data, name)("train[:20]", batch_size=1, shuffle=False)
    digest = hashlib.sha256()
    for image in data.as_numpy_iterator():
        digest.update(image.tobytes())
    return digest.hexdigest()


def _files(path):
    if path.is_file():
        return sha256(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        line = f"{file.relative_to(path)} {sha256(file)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
