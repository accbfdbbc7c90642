"""A training run: its folder, its fit with progress, log and backup, and how it is resumed."""

import json
import math
import shutil

import click
import keras
from tqdm import tqdm

from keras_gradlayer.commands.console import need, new_folder
from keras_gradlayer.serving.versions import local_path


def open_run(path, resume, result, **known):
    """The folder of a new run, or with `resume` of an unfinished one with the same settings.

    run.json keeps the options and the settings that the command has worked out, `known`. A finished
    run has the file `result`.
    """
    need("matplotlib", "jinja2", extra="plots")
    path = local_path(path)
    settings = click.get_current_context().params | known
    settings = {k: v for k, v in settings.items() if k not in ("out", "resume")}
    record = path / "run.json"
    unfinished = record.is_file() and not (path / result).exists()
    if not resume:
        if unfinished:
            raise click.UsageError(f"{path} holds an unfinished run: continue it with --resume.")
        new_folder(path)
        record.write_text(json.dumps(settings, indent=2))
        return path
    if not unfinished:
        raise click.UsageError(f"--resume: there is no unfinished run in {path}.")
    for name, before in json.loads(record.read_text()).items():
        # as text, which older versions kept all settings as
        if str(settings.get(name)) != str(before):
            raise click.UsageError(
                f"--resume: the run in {path} began with --{name.replace('_', '-')} {before}. "
                f"Received: {settings.get(name)}"
            )
    if not (path / "backup").exists():  # no epoch ended: the first one writes these again
        shutil.rmtree(path / "grid", ignore_errors=True)
        (path / "scores.json").unlink(missing_ok=True)
    return path


def fit(model, samples, out, epochs, callbacks, steps_per_epoch=None):
    """Fit with a progress bar, a log, and a backup after each epoch for --resume.

    All of them work by epoch, so that `fit` can compile many updates into one program.
    """
    backup = out / "backup"
    model.fit(
        samples,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=_check_loss),  # before anything is written
            *callbacks,  # those that write into the logs before those that read them
            # An epoch that is interrupted while it is scored is repeated, and has its row.
            keras.callbacks.BackupAndRestore(str(backup), delete_checkpoint=False),
            _Log(str(out / "log.csv"), append=backup.exists()),
            Progress(),
        ],
    )


def finish(model, path):
    """Save what says that a run is finished, whole or not at all, and drop the backup."""
    draft = path.with_name(f"unfinished-{path.name}")
    model.save(draft)
    draft.replace(path)
    shutil.rmtree(path.parent / "backup")


def _check_loss(epoch, logs):
    if not math.isfinite(logs["loss"]):
        raise FloatingPointError(f"NaN or infinite loss in epoch {epoch + 1}.")


class _Log(keras.callbacks.CSVLogger):
    def on_epoch_end(self, epoch, logs=None):
        self.keys = self.keys or sorted(logs)  # Keras would add empty columns for validation
        super().on_epoch_end(epoch, logs)


class Progress(keras.callbacks.Callback):
    """A progress bar of epochs, or of another unit, with the critic's estimate of W1."""

    def __init__(self, unit="epoch"):
        super().__init__()
        self.unit, self.bar = unit, None

    def on_epoch_begin(self, epoch, logs=None):
        """Start the bar, at the epoch that a resumed run starts at."""
        if self.bar is None:
            self.bar = tqdm(total=self.params["epochs"], initial=epoch, unit=self.unit)

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar."""
        self.bar.set_postfix(wasserstein=f"{logs['wasserstein']:.4g}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
