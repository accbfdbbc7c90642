"""`keras-gradlayer convert`: a model of Keras 2 as a .keras file of Keras 3."""

import click

import keras_gradlayer as kgl
from keras_gradlayer.commands.options import FOLDER, option


@click.command(
    "convert",
    params=[
        click.Argument(["old"]),
        option("--out", "New .keras file to write.", type=FOLDER, required=True),
    ],
)
def command(old, out):
    """Convert a model of Keras 2 into a .keras file: the same layers, the same weights.

    OLD is an .h5 or .keras file, or the folder of a SavedModel that Keras 2 wrote.
    """
    if out.suffix != ".keras":
        raise click.UsageError(f"--out must be a .keras file. Received: {out}")
    if out.exists():
        raise click.UsageError(f"{out} exists; nothing was written.")
    if not out.parent.is_dir():
        raise click.UsageError(f"There is no folder {out.parent} to write to.")
    model = kgl.models.convert(old)
    draft = out.with_name(f"unfinished-{out.name}")
    model.save(draft)
    draft.rename(out)
    click.echo(f"'{model.name}', {model.count_params():,} weights: {out}")
