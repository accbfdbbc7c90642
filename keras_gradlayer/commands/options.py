"""Options that several commands share, and groups of options."""

import contextlib
import functools
import pathlib
from types import SimpleNamespace

import click

COUNT = click.IntRange(1)
POSITIVE = click.FloatRange(min=0, min_open=True)
FOLDER = click.Path(path_type=pathlib.Path)


def option(name, help, default=None, **settings):
    """An option of a command, with its default shown in `--help`."""
    if default is not None:
        settings |= {"default": default, "show_default": True}
    return click.Option([name], help=help, **settings)


def flag(name, help):
    """An option that is on or off."""
    return click.Option([name], help=help, is_flag=True)


BATCH_SIZE = option("--batch-size", "Samples in a batch (b).", 64, type=COUNT)
SEED = option("--seed", "Seed of all random numbers.", 0)
RUN = [
    option("--out", "Folder to write to, new or empty.", type=FOLDER, required=True),
    flag("--resume", "Continue the unfinished run in --out."),
    SEED,
]


class _Grouped(click.Command):
    def __init__(self, *args, groups, **kwargs):
        super().__init__(*args, **kwargs)
        self.groups = groups

    def format_options(self, ctx, formatter):
        for name, options in {**self.groups, "help": [self.get_help_option(ctx)]}.items():
            with formatter.section(name.capitalize()):
                formatter.write_dl([option.get_help_record(ctx) for option in options])


def grouped(name, **groups):
    """Make a function a command with groups of options.

    Each group is a heading of `--help` and one argument of the function, with the options' values
    as attributes.

    Args:
        name: the command's.
        **groups: lists of options by the group's name.
    """

    def decorate(function):
        @functools.wraps(function)
        def command(**given):
            return function(
                **{
                    group: SimpleNamespace(
                        **{option.name: given[option.name] for option in options}
                    )
                    for group, options in groups.items()
                }
            )

        params = [option for options in groups.values() for option in options]
        return click.command(name, cls=_Grouped, groups=groups, params=params)(command)

    return decorate


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
