"""A training run: its folder, its fit with progress, log and backup, and how it is resumed."""

import contextlib
import json
import math
import shutil
import uuid

import click
import keras

from keras_gradlayer._files import rename, write_text
from keras_gradlayer.commands.backups import Backups
from keras_gradlayer.commands.console import Interrupted, need, new_folder
from keras_gradlayer.commands.fingerprints import fingerprints
from keras_gradlayer.commands.lock import LOCK, hold
from keras_gradlayer.commands.progress import Progress
from keras_gradlayer.commands.signals import Signals
from keras_gradlayer.serving.versions import local_path

_RECORD = "run.json"


class Run:
    """A run in a folder of its own, opened by `open_run`."""

    def __init__(self, folder, run, signals):
        self.folder, self.signals = folder, signals
        beside = [folder / "log.csv", folder / "scores.json"]
        self.backups = Backups(folder / "backup", run, beside)

    def fit(self, model, samples, epochs, callbacks, steps_per_epoch=None):
        """Fit with a progress bar, a log, and a backup after each epoch for --resume.

        All of them work by epoch, so that `fit` can compile many updates into one program.
        """
        steps = steps_per_epoch or int(samples.cardinality())
        epoch, updates = self.backups.restore(model, epochs, steps)
        if not (epoch or updates):  # the first epoch draws its pictures again
            shutil.rmtree(self.folder / "grid", ignore_errors=True)
        model.loop.skip, model.loop.taken = epoch * steps + updates, updates
        self.signals.model = model
        model.fit(
            samples,
            epochs=epochs,
            initial_epoch=epochs if _is_full(model) else epoch,
            steps_per_epoch=steps_per_epoch,
            verbose=0,
            callbacks=[
                _First(self),  # before anything is written
                *callbacks,  # those that write into the logs before those that read them
                _Log(str(self.folder / "log.csv"), append=True),
                _Last(self),
                Progress(),
            ],
        )
        self.signals.model = None

    def finish(self, model, name):
        """Save what says that a run is finished, whole or not at all, and drop the rest."""
        draft = self.folder / f"unfinished-{name}"
        model.save(draft)
        rename(draft, self.folder / name)
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        (self.folder / LOCK).unlink(missing_ok=True)


def open_run(path, resume, result, **known):
    """A new run in that folder, or with `resume` the unfinished one with the same settings.

    run.json keeps the options and the settings that the command has worked out, `known`, with the
    fingerprints of what they name. A finished run has the file `result`. Until the command ends, no
    other run may be in the folder, and signals end this one in order.
    """
    need("matplotlib", "jinja2", extra="plots")
    path = local_path(path)
    context = click.get_current_context()
    settings = context.params | known
    settings = {k: v for k, v in settings.items() if k not in ("out", "resume")}
    settings |= fingerprints(settings)
    _check_folder(path, resume, result)
    context.with_resource(hold(path))
    _check_folder(path, resume, result)  # another may have come before
    before = _read_record(path) if resume else {"run": uuid.uuid4().hex}
    _check_same(path, before, settings)
    record = settings | {"run": before.get("run", "")}
    if record != before:
        write_text(path / _RECORD, json.dumps(record, indent=2))
    return Run(path, record["run"], context.with_resource(Signals()))


def _check_folder(path, resume, result):
    """Check that the folder has an unfinished run to resume, or is new or empty."""
    begun = (path / _RECORD).exists() or (path / "backup").is_dir()
    unfinished = begun and not (path / result).exists()
    if resume and not unfinished:
        raise click.UsageError(f"--resume: there is no unfinished run in {path}.")
    if unfinished and not resume:
        raise click.UsageError(f"{path} holds an unfinished run: continue it with --resume.")
    if not resume:
        new_folder(path, own=(LOCK, f".{_RECORD}.part"))


def _read_record(path):
    """The settings that the run began with."""
    with contextlib.suppress(ValueError, FileNotFoundError):  # no JSON, or no text
        record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
        if isinstance(record, dict):
            return record
    raise click.UsageError(
        f"--resume: {path / _RECORD} is damaged or missing. Expected a JSON object of settings; "
        "with {} in it the run goes on with the options that are given."
    )


def _check_same(path, before, settings):
    changed = {
        name: f"{_label(name)} {before[name]}. Received: {settings.get(name)}"
        for name in before
        # as text, which older versions kept all settings as
        if name != "run" and str(settings.get(name)) != str(before[name])
    }
    if changed:
        raise click.UsageError(
            f"--resume: the run in {path} began with {'; '.join(changed.values())}. To go on with "
            f"what is given now, remove {', '.join(changed)} from {path / _RECORD}."
        )


def _label(name):
    option = name.removesuffix("_sha256")
    return f"--{option.replace('_', '-')}" + " of SHA-256" * (option != name)


def _is_full(model):
    """Whether a tuner has all the layers that there is room for."""
    return hasattr(model, "stack") and model.stack.depth == model.stack.max_layers


class _First(keras.callbacks.Callback):
    """At the end of an epoch, before all others."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_begin(self, epoch, logs=None):
        if self.run.signals.received:  # before this fit, which forgot it
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(f"NaN or infinite loss in epoch {epoch + 1}.")
        loop, received = self.model.loop, self.run.signals.received
        if received and loop.epoch_updates < loop.epoch_steps and not _is_full(self.model):
            self._stop(epoch, loop.epoch_updates, received)

    def _stop(self, epoch, updates, received):
        # What is drawn and scored before the first epoch has no layers.
        if epoch or not (hasattr(self.model, "stack") and self.model.stack.depth):
            self.run.backups.save(self.model, epoch, updates)
            raise Interrupted(received, f"and saved in epoch {epoch + 1}, at update {updates}")
        raise Interrupted(received, "in the first epoch, which will begin again")


class _Last(keras.callbacks.Callback):
    """At the end of an epoch, when all is written: one that is interrupted before is repeated."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        self.run.backups.save(self.model, epoch + 1)
        if received := self.run.signals.received:
            raise Interrupted(received, f"and saved after epoch {epoch + 1}")


class _Log(keras.callbacks.CSVLogger):
    def on_epoch_end(self, epoch, logs=None):
        self.keys = self.keys or sorted(logs)  # Keras would add empty columns for validation
        super().on_epoch_end(epoch, logs)
