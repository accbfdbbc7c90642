"""Folders of numbered versions, as a model server watches them."""

import contextlib
import os
import pathlib
import re
import shutil
import time
import uuid
from collections.abc import Callable

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from keras_gradlayer import _checks

_DRAFT = ".draft-"
_DAY = 24 * 3600


def versions(path: pathlib.Path) -> dict[int, pathlib.Path]:
    """The numbered folders in `path`, by number."""
    folders = path.iterdir() if path.is_dir() else []
    return dict(sorted((int(p.name), p) for p in folders if p.name.isdecimal()))


def local_path(path: str | os.PathLike) -> pathlib.Path:
    """A path on this machine, with ~ as the home folder; a ValueError for one like gs://bucket."""
    _checks.path("path", path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):  # pathlib makes one slash of two
        raise ValueError(
            f"Expected a folder on this machine, to be copied from there. Received: {path}"
        )
    return pathlib.Path(path).expanduser()


def find_version(path: str | os.PathLike, version: int | None = None) -> pathlib.Path:
    """The SavedModel in `path`: the folder itself, or its newest numbered version, or this one.

    Raises:
        ValueError: if there is none.
    """
    path = local_path(path)
    found = versions(path)
    if version is not None:
        if version not in found:
            raise ValueError(
                f"{path} has the versions {', '.join(map(str, found)) or 'none'}. "
                f"Received: version={version}"
            )
        return found[version]
    for folder in (path, *reversed(found.values())):
        if (folder / "saved_model.pb").is_file():
            return folder
    raise ValueError(
        "Expected a SavedModel, or a model folder with numbered versions of one. "
        f"Received: {path}, which " + ("holds none" if path.exists() else "does not exist")
    )


def read_graph(folder: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph of a SavedModel that servers load, with the tag "serve" alone, or a ValueError."""
    try:
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as e:
        raise ValueError(f"saved_model.pb cannot be read: {e}.") from e
    tags = [list(graph.meta_info_def.tags) for graph in saved.meta_graphs]
    if ["serve"] not in tags:
        raise ValueError(f"there is no graph with the tag 'serve' alone, only {tags}.")
    return saved.meta_graphs[tags.index(["serve"])]


def choose_version(path: pathlib.Path, version: int | None) -> int:
    """The version to write: the one asked for, or the next free number.

    Raises:
        ValueError: if `path` is not a model folder, or has that version.
    """
    if version is not None:
        version = _checks.positive_int("version", version)
    if path.exists() and not path.is_dir():
        raise ValueError(f"Expected a folder for the versions of a model. Received the file {path}")
    taken = versions(path)
    shown = [p for p in path.iterdir() if not p.name.startswith(".")] if path.is_dir() else []
    if (path / "saved_model.pb").exists() or (shown and not taken):
        raise ValueError(
            "Expected a new folder, an empty one, or one with numbered versions of a model. "
            f"Received: {path}, which holds {', '.join(sorted(p.name for p in shown)[:5])}"
        )
    if version in taken:
        raise ValueError(
            f"Version {version} exists and is not written over: {taken[version]}. The next free "
            f"number is {max(taken) + 1}."
        )
    return version or max(taken, default=0) + 1


def write_version(
    path: pathlib.Path, version: int | None, write: Callable[[pathlib.Path], object]
) -> pathlib.Path:
    """Write a version completely or not at all; returns its folder.

    `write` is called with a folder that is renamed to the version, or the next free number, at the
    end. Its name is no number, so a server that watches `path` does not see it before. If it fails,
    everything is removed; what a killed process left is removed by a later call, a day on.
    """
    made = [p for p in (path, *path.parents) if not p.exists()]
    draft = path / f"{_DRAFT}{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
    except OSError as e:
        raise OSError(f"{path} cannot be written to: {e.strerror}") from e
    for old in path.glob(f"{_DRAFT}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > _DAY:
                shutil.rmtree(old, ignore_errors=True)
    try:
        write(draft)
        for file in draft.rglob("*"):
            if file.is_file():
                with open(file, "r+b") as f:
                    os.fsync(f.fileno())  # learn now if it does not fit
        while True:
            target = path / str(choose_version(path, version))
            try:
                return draft.rename(target)
            except OSError:
                if not target.exists():  # else another export was faster: take the next number
                    raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # another export may have put its own there
                folder.rmdir()
        raise
