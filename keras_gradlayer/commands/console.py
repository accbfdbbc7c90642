"""Shared by all commands: errors in one line, and new folders."""

import importlib.util
import logging
import pathlib
import shlex
import sys
import traceback
import warnings

import click

import keras_gradlayer
from keras_gradlayer.serving.versions import local_path

_PACKAGE = pathlib.Path(keras_gradlayer.__file__).parent


class Interrupted(KeyboardInterrupt):
    """A run was told to stop, and says how far it is saved."""

    def __init__(self, signum, message):
        super().__init__(message)
        self.status = 128 + signum


def new_folder(path, own=()):
    """Make a local folder, which must be new or empty but for files of one's own."""
    path = local_path(path)
    if path.exists() and (not path.is_dir() or {p.name for p in path.iterdir()}.difference(own)):
        raise click.UsageError(f"{path} exists and is not an empty folder; nothing was written.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def need(*packages, extra):
    """Check that optional packages are installed, before any work is done."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise click.UsageError(
                f"This command needs the package {name}: pip install 'keras-gradlayer[{extra}]'"
            )


def run(command, args=None):
    """Run a command. Bad input ends it with status 2 and one line that says why.

    Failures of a run or a server end it with status 1; unexpected errors keep their traceback.
    """
    log = logging.getLogger(keras_gradlayer.__name__)
    handler = _Lines(logging.INFO)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # TensorFlow's own handler would show it again
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _in_one_line(warnings.showwarning)
            sys.exit(command.main(args, standalone_mode=False) or 0)
    except click.Abort as e:
        what, status = "(train, finetune and sharded sample runs continue with --resume)", 130
        if isinstance(e.__cause__, Interrupted):
            given = [str(a) for a in (sys.argv[1:] if args is None else args) if a != "--resume"]
            again = shlex.join(["keras-gradlayer", *given, "--resume"])
            what, status = f"{e.__cause__}; continue with: {again}", e.__cause__.status
        click.echo(f"\nkeras-gradlayer: interrupted {what}", err=True)
        sys.exit(status)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.ctx.get_help())
        sys.exit(2)
    except Exception as e:
        if not (isinstance(e, (click.ClickException, OSError)) or _is_ours(e)):
            raise
        message = e.format_message() if isinstance(e, click.ClickException) else str(e)
        # diverged, or a server failed
        failed = isinstance(e, (FloatingPointError, RuntimeError, ConnectionError, TimeoutError))
        start = "\nkeras-gradlayer: failed:" if failed else "keras-gradlayer:"
        click.echo(f"{start} {' '.join(message.split())}", err=True)
        sys.exit(1 if failed else 2)
    finally:
        log.removeHandler(handler)
        log.propagate = True


class _Lines(logging.Handler):
    """Shows what the package logs, such as what it made of a critic, a line each, and once."""

    def __init__(self, level):
        super().__init__(level)
        self.shown = set()

    def emit(self, record):
        message = record.getMessage()
        if message not in self.shown:
            click.echo(message, err=True)
        self.shown.add(message)


def _is_ours(error):
    """Whether this package raised the error, with a message for users."""
    *_, last = traceback.extract_tb(error.__traceback__)
    ours = pathlib.Path(last.filename).is_relative_to(_PACKAGE)
    return ours and last.line.startswith("raise ") and "(" in last.line


def _in_one_line(others):
    """Show warnings for users in one line, like errors; the rest go to `others`."""

    def show(message, category, *place):
        if category is UserWarning:
            click.echo(f"keras-gradlayer: warning: {message}", err=True)
        else:
            others(message, category, *place)

    return show
