"""`keras-gradlayer export`: a SavedModel for TensorFlow Serving."""

import click

import keras_gradlayer as kgl
from keras_gradlayer.commands.options import COUNT, FOLDER, option
from keras_gradlayer.commands.sources import load_model


@click.command(
    "export",
    params=[
        option("--model", "The .keras file of a tuner, sampler, GAN, generator.", required=True),
        option("--out", "The model's folder, one subfolder a version.", type=FOLDER, required=True),
        option("--version", "The next free number by default.", type=COUNT),
        option(
            "--data-range",
            "LOW HIGH, the range of samples; by default that of the output activation.",
            type=float,
            nargs=2,
        ),
        option(
            "--allowed-batch-size",
            "A batch size that the server may form; repeat it in increasing order.",
            (1, 8, 64),
            multiple=True,
        ),
        option("--score", "A score for the metadata.", multiple=True, metavar="NAME=VALUE"),
    ],
)
def command(model, out, version, data_range, allowed_batch_size, score):
    """Write a sampler as one SavedModel for TensorFlow Serving."""
    try:
        scores = {name: float(value) for name, value in (text.split("=") for text in score)}
    except ValueError as e:
        raise click.UsageError(
            f"--score must be NAME=VALUE, with a number. Received: {', '.join(score)}"
        ) from e
    folder = kgl.serving.export_sampler(
        load_model(model),
        out,
        version,
        data_range=data_range,
        allowed_batch_sizes=allowed_batch_size,
        scores=scores,
    )
    depth = kgl.serving.read_metadata(folder)["depth"]
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    click.echo(f"{depth} gradient layers, {size / 2**20:.1f} MiB: {folder}")
