"""Options that several commands share, and groups of options."""

import math
import pathlib
from types import SimpleNamespace

import click

COUNT = click.IntRange(1)


class _Finite(click.FloatRange):
    """A float in a range, and neither NaN, which no range keeps out, nor infinity."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


POSITIVE = _Finite(min=0, min_open=True)
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
PARTICLES = option("--particles", '"auto", a number, or "none": fresh latents every time.', "auto")
SEED = option("--seed", "Seed of all random numbers.", 0, type=click.IntRange(0, 2**32 - 1))
RUN = [
    option("--out", "Folder to write to, new or empty.", type=FOLDER, required=True),
    flag("--resume", "Continue the unfinished run in --out."),
    SEED,
]


def grouped(name, **groups):
    """A command whose options stand in groups: lists of options by name.

    Each group is a heading of `--help` and one argument of the function, with the options' values
    as attributes.
    """
    return click.command(name, cls=_Grouped, groups=groups)


class _Grouped(click.Command):
    def __init__(self, *args, groups, **kwargs):
        super().__init__(*args, **kwargs)
        self.groups = groups
        self.params = [option for options in groups.values() for option in options]

    def invoke(self, ctx):
        given = {
            group: SimpleNamespace(**{option.name: ctx.params[option.name] for option in options})
            for group, options in self.groups.items()
        }
        return ctx.invoke(self.callback, **given)

    def format_options(self, ctx, formatter):
        for name, options in {**self.groups, "help": [self.get_help_option(ctx)]}.items():
            with formatter.section(name.capitalize()):
                formatter.write_dl([option.get_help_record(ctx) for option in options])


def parse_step_size(text):
    """A number, or "auto"."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError as e:
        raise click.UsageError(
            f'--step-size must be "auto" or a positive number. Received: {text}'
        ) from e


def parse_particles(text):
    """A number, "auto", or "none" as `None`."""
    words = {"auto": "auto", "none": None}
    if text not in words and not text.isdecimal():
        raise click.UsageError(f'--particles must be "auto", "none" or a number. Received: {text}')
    return words[text] if text in words else int(text)
