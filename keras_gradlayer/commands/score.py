"""`keras-gradlayer score`: samples beside real images."""

import dataclasses
import json
import math

import click
from tqdm import tqdm

from keras_gradlayer.commands.options import COUNT, FOLDER, SEED, option
from keras_gradlayer.commands.sources import batches_of, load_classifier, make_scorer
from keras_gradlayer.metrics.scorer import format_conditions, format_scores


@click.command(
    "score",
    params=[
        click.Argument(["sources"], nargs=-1, required=True),
        option("--classifier", "Its .keras file, or the URL of a Hub module.", required=True),
        option("--real", "Real images, such as cifar10:test, or a folder.", required=True),
        option("--count", "Number of samples, and of real images.", 10_000, type=click.IntRange(2)),
        option("--layers", "Layers to apply; repeatable.", type=click.IntRange(0), multiple=True),
        option("--image-size", "For folders of images.", type=COUNT),
        option("--out", "New JSON file to write.", type=FOLDER),
        SEED,
    ],
)
def command(sources, classifier, real, count, layers, image_size, out, seed):
    """Score samples beside real images, by a classifier.

    SOURCES are .keras files of samplers, tuners, GANs and generators, folders of SavedModels,
    folders of images, and data sets such as cifar10:test.

    A classifier takes images in [-1, 1] and gives a dict of "logits" and "features".
    """
    if out is not None and out.exists():
        raise click.UsageError(f"{out} exists; nothing was written.")
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"There is no folder {out.parent} to write to.")
    classifier = load_classifier(classifier)
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
