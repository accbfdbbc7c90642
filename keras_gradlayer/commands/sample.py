"""`keras-gradlayer sample`: samples as one array and a picture, or as shards of many."""

import click
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import pictures
from keras_gradlayer.commands.console import need, new_folder
from keras_gradlayer.commands.options import BATCH_SIZE, COUNT, flag, option
from keras_gradlayer.commands.sources import load_model

_MOST_IN_ONE = 10_000  # samples in one array, by default


@click.command(
    "sample",
    params=[
        option("--model", "The .keras file of a sampler, tuner, GAN or generator."),
        option("--saved-model", "The folder of an exported sampler, instead."),
        option("--out", "Folder to write to, new or empty; gs://… for shards, too.", required=True),
        option("--count", "Number of samples.", 64, type=COUNT),
        option("--layers", "Apply only so many layers.", type=click.IntRange(0)),
        option(
            "--label", "Of a conditional sampler, the class; by default as in its data.", type=int
        ),
        option(
            "--format",
            f"npy: one array and a picture, by default up to {_MOST_IN_ONE:,} samples. Others: "
            "shards, by default tfrecord.",
            type=click.Choice(["npy", "tfrecord", "png"]),
        ),
        option("--shards", "Number of shards; by default one for 10,000 samples.", type=COUNT),
        flag("--resume", "Write the shards that --out lacks."),
        BATCH_SIZE,
        option("--seed", "Seed of the first sample.", 0, type=click.IntRange(-(2**63), 2**63 - 1)),
    ],
)
def command(
    model, saved_model, out, count, layers, label, format, shards, resume, batch_size, seed
):
    """Draw samples from a saved sampler: samples.npy and a picture, or shards of many.

    Whatever the format, they are what a server gives for the seeds SEED, SEED + 1, ...
    """
    if (model is None) == (saved_model is None):
        raise click.UsageError("Either --model or --saved-model names what to draw from.")
    format = format or ("npy" if count <= _MOST_IN_ONE else "tfrecord")
    if format == "npy":
        if shards or resume:
            raise click.UsageError(
                f"{'--shards' if shards else '--resume'} is for --format tfrecord and png; up to "
                f"{_MOST_IN_ONE:,} samples are npy unless --format says otherwise."
            )
        if "://" in out:
            raise click.UsageError(
                "One array is written to a local folder; --format tfrecord and png also write to "
                f"object stores. Received: --out {out}"
            )
        need("matplotlib", extra="plots")
    if tf.config.list_physical_devices("GPU"):  # for the same samples of a seed each time
        tf.config.experimental.enable_op_determinism()
    sampler = kgl.serving.SeededSampler(load_model(model) if model else saved_model, label)
    draw = {"layers": layers, "batch_size": batch_size}
    if format != "npy":
        write = {"seed": seed, "shards": shards, "format": format, "resume": resume}
        kgl.serving.write_samples(sampler, out, count, **write, **draw, progress=True)
        click.echo(f"{count:,} samples: {out}")
        return
    if layers is not None and layers > sampler.depth:
        raise click.UsageError(f"The model has {sampler.depth} layers. Received: --layers {layers}")
    out = new_folder(out)
    samples = np.concatenate([x for _, x in sampler.blocks(seed, seed + count, **draw)])
    np.save(out / "samples.npy", samples)
    shown = samples[:100] if samples.ndim == 4 else samples
    pictures.sample_picture(out / "samples.png", shown, sampler.facts["data_range"])
    click.echo(f"{count} samples of shape {samples.shape[1:]}: {out / 'samples.npy'}")
