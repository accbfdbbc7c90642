"""The commands for what was trained: export, sample, score."""

import dataclasses
import json
import math
import pathlib

import click
import numpy as np
from tqdm import tqdm

import keras_gradlayer as kgl
from keras_gradlayer import pictures
from keras_gradlayer.console import new_folder
from keras_gradlayer.metrics.scorer import format_conditions, format_scores
from keras_gradlayer.options import batch_option, load_model, parse_score, seed_option
from keras_gradlayer.serving.metadata import latent_of
from keras_gradlayer.serving.signatures import source_of
from keras_gradlayer.serving.versions import local_path
from keras_gradlayer.sources import batches_of

_MOST_IN_ONE = 10_000  # samples in one array, by default


@click.command()
@click.option("--model", required=True, help="The .keras file of a tuner, sampler, GAN, generator.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="The model's folder, with a subfolder for each version.",
)
@click.option("--version", type=click.IntRange(1), help="The next free number by default.")
@click.option(
    "--data-range", nargs=2, type=float, help="LOW HIGH; by default the output activation's."
)
@click.option(
    "--allowed-batch-size",
    "batch_sizes",
    multiple=True,
    default=(1, 8, 64),
    show_default=True,
    help="Each batch size the server may form, from the smallest.",
)
@click.option("--score", "scores", multiple=True, metavar="NAME=VALUE", help="For the metadata.")
def export(model, out, version, data_range, batch_sizes, scores):
    """Write a sampler as one SavedModel for TensorFlow Serving."""
    scores = dict(parse_score(text) for text in scores)
    folder = kgl.serving.export_sampler(
        load_model(model),
        out,
        version,
        data_range=data_range,
        allowed_batch_sizes=batch_sizes,
        scores=scores,
    )
    depth = kgl.serving.read_metadata(folder)["depth"]
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    click.echo(f"{depth} gradient layers, {size / 2**20:.1f} MiB: {folder}")


@click.command()
@click.option("--model", help="The .keras file of a sampler, tuner, GAN or generator.")
@click.option("--saved-model", help="The folder of an exported sampler, instead.")
@click.option(
    "--out", required=True, help="Folder to write to, new or empty; for shards gs://… as well."
)
@click.option("--count", default=64, show_default=True, type=click.IntRange(1))
@click.option("--layers", type=click.IntRange(0), help="Apply the first layers only.")
@click.option(
    "--format",
    type=click.Choice(["npy", *kgl.serving.bulk.FORMATS]),
    help="npy is one array and a picture, the others are shards; by default npy up to 10,000 "
    "samples, and tfrecord for more.",
)
@click.option(
    "--shards", type=click.IntRange(1), help="How many; one for each 10,000 samples by default."
)
@click.option("--resume", is_flag=True, help="Go on with the shards that --out lacks.")
@batch_option
@seed_option
def sample(model, saved_model, out, count, layers, format, shards, resume, batch_size, seed):
    """Draw samples from a saved sampler: samples.npy and a picture, or shards of many.

    Those of an exported sampler, and those in shards, are what a server gives for the seeds SEED,
    SEED + 1, ...
    """
    if (model is None) == (saved_model is None):
        raise click.UsageError("Either --model or --saved-model names what to draw from.")
    if (format or ("npy" if count <= _MOST_IN_ONE else "tfrecord")) != "npy":
        kgl.serving.write_samples(
            load_model(model) if model else saved_model,
            out,
            count,
            seed=seed,
            shards=shards,
            format=format or "tfrecord",
            layers=layers,
            batch_size=batch_size,
            resume=resume,
            progress=True,
        )
        click.echo(f"{count:,} samples: {out}")
        return
    for option, given in (("--shards", shards), ("--resume", resume)):
        if given:
            raise click.UsageError(
                f"{option} is for --format tfrecord and png; up to {_MOST_IN_ONE:,} samples are "
                "npy unless --format says otherwise."
            )
    if "://" in out:
        raise click.UsageError(
            f"One array is written to a folder on this machine; --format tfrecord and png write to "
            f"object stores, too. Received: --out {out}"
        )
    out = local_path(out)
    source = _from_saved_model(saved_model) if saved_model else _from_keras(model, layers)
    draw, depth, value_range = source
    if layers is not None and layers > depth:
        raise click.UsageError(f"The model has {depth} layers. Received: --layers {layers}")
    out = new_folder(out)
    samples = np.asarray(draw(count, layers, batch_size, seed), "float32")
    np.save(out / "samples.npy", samples)
    shown = samples[:100] if samples.ndim == 4 else samples
    pictures.sample_picture(out / "samples.png", shown, value_range)
    click.echo(f"{count} samples of shape {samples.shape[1:]}: {out / 'samples.npy'}")


def _from_keras(path, layers):
    """What draws samples from a Keras file, the depth it has, and the samples' range."""
    model = load_model(path)
    source = source_of(model)
    if layers is not None and not hasattr(model, "stack"):
        raise click.UsageError("--layers is for a model that has gradient layers.")

    def draw(count, layers, batch_size, seed):
        latents = source.latent.sample(count, seed=seed)
        if layers is None:
            return model.predict(latents, batch_size=batch_size, verbose=0)
        parts = range(0, count, batch_size)
        return np.concatenate([model(latents[i : i + batch_size], layers=layers) for i in parts])

    return draw, model.stack.depth if layers is not None else 0, source.data_range


def _from_saved_model(path):
    """What draws samples from an exported sampler, the depth it has, and the samples' range."""
    facts = kgl.serving.read_metadata(path)

    def draw(count, layers, batch_size, seed):
        seeds = np.arange(seed, seed + count)
        with kgl.serving.connect(path, batch_size=batch_size) as sampler:
            if layers is None:
                return sampler.sample(seeds)
            return sampler.sample_layers(latent_of(facts).sample_rows(seeds), layers)

    return draw, facts["depth"], facts["data_range"]


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--classifier", required=True, help="Its .keras file, or the URL of a Hub module.")
@click.option("--real", required=True, help="Real images, such as cifar10:test, or a folder.")
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(2))
@click.option(
    "--layers", multiple=True, type=click.IntRange(0), help="Of samplers, all SOURCES; repeatable."
)
@click.option("--image-size", type=click.IntRange(1), help="For folders of images.")
@click.option(
    "--out", type=click.Path(path_type=pathlib.Path), help="JSON file to write, that is not there."
)
@seed_option
def score(sources, classifier, real, count, layers, image_size, out, seed):
    """Score samples beside real images, by a classifier.

    SOURCES are .keras files of samplers, tuners, GANs and generators, folders of SavedModels,
    folders of images, and data sets such as cifar10:test.

    A classifier takes images in [-1, 1] and gives a dict of "logits" and "features".
    """
    if out is not None and out.exists():
        raise click.UsageError(f"{out} exists; nothing was written.")
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"There is no folder {out.parent} to write to.")
    classifier = kgl.metrics.Classifier(classifier)
    shape = image_size and (image_size, image_size, classifier.channels or 3)
    jobs = [(s, k, batches_of(s, count, seed, k, shape)) for s in sources for k in layers or [None]]
    scorer = make_scorer(classifier, real, count, shape)
    reports = []
    for source, depth, batches in jobs:
        label = source if depth is None else f"{source}, {depth} layers"
        found = scorer(tqdm(batches, desc=label, unit="batch", leave=False))
        if not math.isfinite(found.scores["frechet_distance"]):
            raise click.UsageError(f"{label} gives samples with NaN or infinite values.")
        reports.append((label, found))
        if out is not None:
            record = [{"source": s, **dataclasses.asdict(found)} for s, found in reports]
            out.write_text(json.dumps(record, indent=1) + "\n")
        click.echo(f"{label}: {format_scores(found.scores)}")
    click.echo(format_conditions(reports[0][1].conditions))
    for label, found in reports[1:]:
        for difference in found.differs_from(reports[0][1]):
            click.echo(f"not comparable: {label} and {reports[0][0]} differ in {difference}")


def make_scorer(classifier, real, count, shape):
    """A scorer against the real images of that name."""
    try:
        images = batches_of(real, count, 0, image_shape=shape)
    except (click.UsageError, ValueError) as e:
        raise click.UsageError(f"--real: {e}") from e
    return kgl.metrics.Scorer(classifier, images, count)
