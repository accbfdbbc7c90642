"""Backups of a run: folders that are there whole or not at all, each with its checksums."""

import hashlib
import json
import pathlib
import re
import shutil
import zipfile

import click

from keras_gradlayer._files import sha256, sync

MODEL, MANIFEST = "model.keras", "manifest.json"
_NAME = re.compile(r"epoch-(\d{5,})-update-(\d{6,})")
_DRAFT, _KEPT = ".draft", 2


class Backups:
    """The last two backups of a run, and how it goes on from the newest that is sound.

    A backup is a folder `epoch-00003-update-000000`: the model, the run's small files as
    they were then, and a manifest with the position and a SHA-256 of each file and of itself.

    Args:
        folder: where they are.
        run: what tells this run from others, if that is known.
        beside: the run's small files.
    """

    def __init__(self, folder: pathlib.Path, run: str, beside: list[pathlib.Path]):
        self.folder, self.run, self.beside = folder, run, beside

    def save(self, model, epoch, updates=0):
        """Back up a model that has come so far; the backup before the last one goes."""
        draft = self.folder / _DRAFT
        try:
            self.folder.mkdir(exist_ok=True)
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            model.save(draft / MODEL)  # as a file of HDF5 alone, a full disk would crash Python
            for path in self.beside:
                if path.exists():
                    shutil.copyfile(path, draft / path.name)
            hashes = {path.name: sha256(path) for path in sorted(draft.iterdir())}
            manifest = {"run": self.run, "epoch": epoch, "updates": updates, "sha256": hashes}
            (draft / MANIFEST).write_text(json.dumps(manifest | {"checksum": _checksum(manifest)}))
            for path in (*draft.iterdir(), draft):
                sync(path)
            place = self.folder / f"epoch-{epoch:05d}-update-{updates:06d}"
            if place.exists():  # the run has come here again
                shutil.rmtree(place)
            draft.rename(place)
            sync(self.folder)
        except (OSError, RuntimeError, ValueError) as e:  # of zipfile, too, which cannot end a file
            shutil.rmtree(draft, ignore_errors=True)
            raise OSError(f"A backup could not be written to {self.folder}: {e}") from e
        for old in self._all()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def restore(self, model, epochs, steps):
        """Bring a model and the run's files to the newest sound backup: its epoch and update.

        (0, 0) and no files if there is none: the run begins again.
        """
        found = self.newest(epochs, steps)
        for path in self.beside:
            path.unlink(missing_ok=True)
            if found and (found / path.name).exists():
                shutil.copyfile(found / path.name, path)
        if found is None:
            return 0, 0
        try:
            model.load_weights(found / MODEL)
        except ValueError as e:
            raise click.UsageError(f"{found} does not fit the model: {e}") from e
        return _position(found)

    def config(self):
        """The config of the model in the newest sound backup; `None` if there is none."""
        found = self.newest()
        if found is None:
            return None
        with zipfile.ZipFile(found / MODEL) as file:
            return json.loads(file.read("config.json"))["config"]

    def newest(self, epochs=None, steps=None):
        """The newest sound backup, if any; those that are not are named, and set aside."""
        if self.folder.exists() and not self.folder.is_dir():
            raise click.UsageError(f"{self.folder} must be a folder. Received: a file")
        faults = [f"{path.name} is none of this run's" for path in self._foreign()]
        found = None
        for path in reversed(self._all()):
            fault = self._fault(path, epochs, steps)
            if fault is None:
                found = path
                break
            path.rename(path.with_name(f"damaged-{path.name}"))
            faults.append(f"{path.name} {fault}")
        if faults:
            start = "the beginning" if found is None else found.name
            click.echo(f"{self.folder}: {'; '.join(faults)}. Going on from {start}.", err=True)
        return found

    def _all(self):
        folders = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted((p for p in folders if _NAME.fullmatch(p.name)), key=_position)

    def _foreign(self):
        paths = self.folder.iterdir() if self.folder.is_dir() else []
        ours = re.compile(rf"(damaged-)?{_NAME.pattern}|{re.escape(_DRAFT)}")
        return sorted(path for path in paths if not ours.fullmatch(path.name))

    def _fault(self, folder, epochs, steps):
        """What is wrong with a backup, or `None`."""
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            checksum = manifest.pop("checksum")
            run, hashes = manifest["run"], dict(manifest["sha256"])
            epoch, updates = position = manifest["epoch"], manifest["updates"]
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return f"has no {MANIFEST} that can be read"
        if checksum != _checksum(manifest) or position != _position(folder):
            return f"has a {MANIFEST} that was changed"
        if self.run and run != self.run:
            return "is of another run"
        if epochs is not None and not epoch * steps + updates <= epochs * steps:
            return f"is of epoch {epoch}, and the run has {epochs}"
        for name in {MODEL, *hashes}:
            if not (folder / name).is_file():
                return f"lacks {name}"
            if sha256(folder / name) != hashes.get(name):
                return f"has a {name} that is damaged"
        return None


def _checksum(manifest):
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _position(folder):
    return tuple(map(int, _NAME.fullmatch(folder.name).groups()))
