"""What every command has in common: one line for an error, and folders that are new."""

import json
import pathlib
import sys
import warnings

import click
import tensorflow as tf

from keras_gradlayer.serving.versions import local_path


def new_folder(path):
    """Make a folder on this machine that must be new or empty."""
    path = local_path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise click.UsageError(f"{path} exists and is not an empty folder; nothing was written.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def run_folder(path, resume, result):
    """The folder of a new run, or of an unfinished one of the same settings.

    The settings are written to run.json, so that a run is only gone on with as it began.
    """
    path = local_path(path)
    options = click.get_current_context().params
    settings = {k: str(v) for k, v in options.items() if k not in ("out", "resume")}
    record = path / "run.json"
    if not resume:
        if record.exists() and not (path / result).exists():
            raise click.UsageError(f"{path} holds an unfinished run: go on with --resume.")
        record = new_folder(path) / "run.json"
        record.write_text(json.dumps(settings, indent=2))
        return path
    if not record.is_file() or (path / result).exists():
        raise click.UsageError(f"--resume: there is no unfinished run in {path}.")
    for name, before in json.loads(record.read_text()).items():
        if settings.get(name) != before:
            raise click.UsageError(
                f"--resume: the run in {path} began with --{name.replace('_', '-')} {before}. "
                f"Received: {settings.get(name)}"
            )
    return path


def save_result(model, path):
    """Save what says that a run is finished: whole, or not at all."""
    draft = path.with_name(f"unfinished-{path.name}")
    model.save(draft)
    draft.replace(path)


def next_folder(stem):
    """A folder that is not there yet, numbered."""
    n = 1
    while pathlib.Path(f"{stem}-{n}").exists():
        n += 1
    return pathlib.Path(f"{stem}-{n}")


def run(command, args=None):
    """Run a command; bad input ends it with status 2 and one line that says why."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _in_one_line(warnings.showwarning)
            sys.exit(command.main(args, standalone_mode=False) or 0)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.Abort:
        click.echo(
            "\nkeras-gradlayer: interrupted "
            "(train, finetune, and sample where it writes shards, go on with --resume)",
            err=True,
        )
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.ctx.get_help())
        sys.exit(2)
    except (RuntimeError, FloatingPointError) as e:
        # TerminateOnNaN, or a layer that is not finite: the backup has the last good epoch.
        click.echo(f"\nkeras-gradlayer: failed: {' '.join(str(e).split())}", err=True)
        sys.exit(1)
    except tf.errors.OpError as e:  # a file that is no image, say
        click.echo(f"\nkeras-gradlayer: failed: {' '.join(e.message.split())}", err=True)
        sys.exit(1)
    except click.ClickException as e:
        message = e.format_message()
    except (ValueError, TypeError, OSError) as e:
        message = str(e)
    click.echo(f"keras-gradlayer: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _in_one_line(others):
    """Show warnings that are for users like errors, and leave others to `others`."""

    def show(message, category, *place):
        if category is UserWarning:
            click.echo(f"keras-gradlayer: warning: {message}", err=True)
        else:
            others(message, category, *place)

    return show
