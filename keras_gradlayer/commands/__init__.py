"""The command line, `keras-gradlayer`: one file a command, and what the commands share."""

import click

import keras_gradlayer as kgl
from keras_gradlayer import _backend
from keras_gradlayer.commands import console, convert, demo, export, finetune, sample, score, train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kgl.__version__)
def cli():
    """From a GAN that stopped improving to a better sampler, one gradient layer at a time."""
    try:
        _backend.need_tensorflow("The command line")
    except RuntimeError as e:
        raise click.UsageError(str(e)) from e


for _module in (demo, train, finetune, export, sample, score, convert):
    cli.add_command(_module.command)


def main(args=None):
    """Run the command line."""
    console.run(cli, args)
