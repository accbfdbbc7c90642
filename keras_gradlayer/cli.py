"""The command line, `keras-gradlayer`."""

import dataclasses
import json
import pathlib

import click
import keras
import numpy as np
from tqdm import tqdm
from tqdm.keras import TqdmCallback

import keras_gradlayer as kgl
from keras_gradlayer import console, pictures, report
from keras_gradlayer import demo as demos
from keras_gradlayer.console import new_folder, next_folder, run_folder
from keras_gradlayer.experiments import EXPERIMENTS
from keras_gradlayer.metrics.scorer import format_conditions, format_scores
from keras_gradlayer.options import (
    IMAGE_SHAPES,
    IMAGES,
    METHODS,
    load_data,
    load_model,
    make_preset,
    parse_particles,
    parse_score,
)
from keras_gradlayer.serving.metadata import latent_of
from keras_gradlayer.sources import batches_of

_POSITIVE = click.FloatRange(min=0, min_open=True)

_seed = click.option("--seed", default=0, show_default=True, help="Everything random follows it.")
_out = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write to, new or empty.",
)
_batch = click.option(
    "--batch-size", default=64, show_default=True, type=click.IntRange(1), help="b, samples a step."
)
_data = click.option(
    "--data",
    required=True,
    help=f"{', '.join(IMAGES)}, or a folder of images (or, to finetune, a toy).",
)
_penalty = click.option("--penalty", default=10.0, show_default=True, help="λ of the penalty.")
_one_sided = click.option("--one-sided", is_flag=True, help="Penalize only norms above 1.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kgl.__version__)
def cli():
    """From a GAN that stopped improving to a better sampler, one gradient layer at a time."""


@cli.command()
@click.option(
    "--data",
    "name",
    default="eight_gaussians",
    show_default=True,
    type=click.Choice(list(demos.TOYS)),
    help="Which toy.",
)
@click.option(
    "--experiment",
    type=click.Choice(list(EXPERIMENTS)),
    help="Another experiment instead, that shows the point of a method; seconds to minutes.",
)
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path),
    help="Folder to write to, new or empty; runs/demo-NAME-N by default.",
)
@click.option("--layers", default=100, show_default=True, type=click.IntRange(1), help="T.")
@click.option(
    "--particles",
    default="auto",
    show_default=True,
    help='"auto", a number, or "none" to replay fresh latents at every step, as printed.',
)
@_seed
def demo(name, experiment, out, layers, particles, seed):
    """Turn noise into a toy data set with gradient layers alone (the paper's Figure 2)."""
    particles = parse_particles(particles)
    given = click.get_current_context().get_parameter_source
    for option, parameter in (("data", "name"), ("layers",) * 2, ("particles",) * 2):
        if experiment and given(parameter) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{option} is not for --experiment.")
    out = new_folder(out or next_folder(f"runs/demo-{experiment or name}"))
    if experiment:
        keras.utils.set_random_seed(seed)
        EXPERIMENTS[experiment](out / f"{experiment}.png")
        click.echo(f"figure: {out / f'{experiment}.png'}")
        return
    demos.run(name, out, layers, particles, seed)


@cli.command()
@_data
@_out
@click.option(
    "--iterations",
    default=10_000,
    show_default=True,
    type=click.IntRange(1),
    help="Generator updates, in epochs of about a hundred.",
)
@click.option(
    "--method",
    default="wgan-gp",
    show_default=True,
    type=click.Choice(list(METHODS)),
    help="With its published settings, save those given here.",
)
@click.option("--critic-steps", type=click.IntRange(1), help="Critic updates a generator update.")
@click.option(
    "--width", default=64, show_default=True, type=click.IntRange(1), help="Of the DCGAN."
)
@click.option("--latent-dim", default=128, show_default=True, type=click.IntRange(1))
@click.option("--image-size", default=32, show_default=True, help="For a folder of images.")
@click.option("--learning-rate", type=_POSITIVE, help="Of both optimizers.")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run in --out.")
@_batch
@click.option("--penalty", type=float, help="λ of the penalty.")
@_one_sided
@_seed
def train(
    data,
    out,
    iterations,
    method,
    critic_steps,
    width,
    latent_dim,
    image_size,
    learning_rate,
    resume,
    batch_size,
    penalty,
    one_sided,
    seed,
):
    """Train a GAN on images: generator.keras, critic.keras, curves and samples."""
    shape = IMAGE_SHAPES.get(data, (image_size, image_size, 3))
    if data in demos.TOYS:
        raise click.UsageError(f"train makes a DCGAN for images; '{data}' is a set of points.")
    keras.utils.set_random_seed(seed)
    preset = make_preset(
        method,
        critic_steps=critic_steps,
        learning_rate=learning_rate,
        penalty=penalty,
        one_sided=one_sided or None,
    )
    critic_steps = preset.callbacks[0].critic_steps
    gan = kgl.GAN(
        kgl.models.dcgan_generator(shape, latent_dim, width),
        kgl.models.dcgan_critic(shape, width),
        preset.objective,
    )
    gan.compile(preset.generator_optimizer, preset.critic_optimizer)
    samples = load_data(data, batch_size, seed, shape).repeat()
    out = run_folder(out, resume, "gan.keras")
    latents = gan.latent.sample(64, seed=seed)
    epochs = max(1, iterations // 100)
    _fit(
        gan,
        samples,
        out,
        epochs=epochs,
        steps_per_epoch=critic_steps * (iterations // epochs),
        callbacks=preset.callbacks,
    )
    gan.generator.save(out / "generator.keras")
    gan.critic.save(out / "critic.keras")
    gan.save(out / "gan.keras")
    pictures.sample_picture(out / "samples.png", gan.predict(latents, verbose=0))
    pictures.curves(out / "curves.png", out / "log.csv", f"{iterations // epochs} iterations")
    click.echo(f"{iterations // epochs * epochs} generator updates; generator, critic: {out}")


@cli.command()
@_data
@click.option("--generator", help="Its .keras file; none is the identity on the latent.")
@click.option("--critic", required=True, help="Its .keras file.")
@_out
@click.option("--layers", default=10, show_default=True, type=click.IntRange(1), help="T.")
@click.option("--step-size", default=0.5, show_default=True, help="η.")
@click.option("--steps-per-layer", default=1, show_default=True, help="m steps of η/m a layer.")
@click.option("--insert", default="top", show_default=True, help="top, bottom or a layer's name.")
@click.option(
    "--critic-steps",
    type=click.IntRange(1),
    help="T0, critic updates a layer; one pass over the data by default.",
)
@click.option("--particles", default="auto", show_default=True, help='"auto", a number or "none".')
@click.option(
    "--learning-rate",
    default=5e-5,
    show_default=True,
    type=_POSITIVE,
    help="Adam's, for the critic.",
)
@click.option("--classifier", help="Score by it each epoch, and keep the best depth: see score.")
@click.option("--real", help="What to score against; the test images of --data by default.")
@click.option(
    "--score-count", default=10_000, show_default=True, type=click.IntRange(2), help="Samples."
)
@click.option(
    "--backtracking", is_flag=True, help="Halve a layer's step until it helps; stack none else."
)
@click.option("--resume", is_flag=True, help="Go on with an unfinished run in --out.")
@_batch
@_penalty
@_one_sided
@_seed
def finetune(
    data,
    generator,
    critic,
    out,
    layers,
    step_size,
    steps_per_layer,
    insert,
    critic_steps,
    particles,
    learning_rate,
    classifier,
    real,
    score_count,
    backtracking,
    resume,
    batch_size,
    penalty,
    one_sided,
    seed,
):
    """Add gradient layers to a GAN of your own: tuner.keras, sampler.keras, report.html.

    With --classifier each depth is scored, and the best is kept.
    """
    keras.utils.set_random_seed(seed)
    tuner = kgl.FineTuner(
        load_model(generator) if generator else None,
        load_model(critic),
        step_size,
        insert=insert,
        max_layers=layers,
        particles=parse_particles(particles),
        steps_per_layer=steps_per_layer,
    )
    tuner.compile(_adam(learning_rate))
    samples = load_data(data, batch_size, seed, tuner.sample_shape)
    callbacks = [kgl.callbacks.GradientPenalty(penalty, one_sided)]
    if critic_steps:
        callbacks.append(kgl.callbacks.CriticInnerLoop(critic_steps))
        samples = samples.repeat()
    scorer = None
    if classifier:
        scorer = _scorer(classifier, real or f"{data}:test", score_count, tuner.sample_shape)
    elif real:
        raise click.UsageError("--real is for --classifier.")
    if backtracking:
        callbacks.append(kgl.callbacks.Backtracking(scorer))
    out = run_folder(out, resume, "tuner.keras")
    if scorer:
        path = out / "scores.json"
        callbacks.append(kgl.callbacks.Scores(scorer, restore_best_layers=True, path=path))
    if len(tuner.sample_shape) == 3 or tuner.sample_shape == (2,):
        callbacks.append(kgl.callbacks.SampleGrid(out / "grid"))
    callbacks.append(kgl.callbacks.FlowMonitor(samples=250))
    latents = tuner.latent.sample(64, seed=seed)
    if not (out / "before.png").exists():
        pictures.sample_picture(out / "before.png", tuner(latents, layers=0))
    _fit(tuner, samples, out, layers, callbacks, steps_per_epoch=critic_steps)
    tuner.save(out / "tuner.keras")
    tuner.sampler().save(out / "sampler.keras")
    pictures.sample_picture(out / "after.png", tuner.predict(latents, verbose=0))
    pictures.curves(out / "curves.png", out / "log.csv", "epoch")
    page = report.write_report(out, tuner.stack.depth)
    click.echo(f"{tuner.stack.depth} gradient layers; sampler: {out / 'sampler.keras'}; {page}")


@cli.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--classifier", required=True, help="Its .keras file, or the URL of a Hub module.")
@click.option("--real", required=True, help="Real images, such as cifar10:test, or a folder.")
@click.option("--count", default=10_000, show_default=True, type=click.IntRange(2))
@click.option("--layers", multiple=True, type=click.IntRange(0), help="Of a sampler; repeatable.")
@click.option("--image-size", type=click.IntRange(1), help="For folders of images.")
@click.option(
    "--out", type=click.Path(path_type=pathlib.Path), help="JSON file to write, that is not there."
)
@_seed
def score(sources, classifier, real, count, layers, image_size, out, seed):
    """Score samples beside real images, by a classifier.

    SOURCES are .keras files of samplers, tuners, GANs and generators, folders of exported samplers,
    folders of images, and data sets such as cifar10:test.

    A classifier takes images in [-1, 1] and gives a dict of "logits" and "features".
    """
    if out is not None and out.exists():
        raise click.UsageError(f"{out} exists; nothing was written.")
    shape = image_size and (image_size, image_size, 3)
    jobs = [
        (s, k, batches_of(s, count, seed, k, image_size)) for s in sources for k in layers or [None]
    ]
    scorer = _scorer(classifier, real, count, shape)
    reports = []
    for source, depth, batches in jobs:
        label = source if depth is None else f"{source}, {depth} layers"
        found = scorer(tqdm(batches, desc=label, unit="batch", leave=False))
        reports.append((label, found))
        click.echo(f"{label}: {format_scores(found.scores)}")
    click.echo(format_conditions(reports[0][1].conditions))
    for label, found in reports[1:]:
        for difference in found.differs_from(reports[0][1]):
            click.echo(f"not comparable: {label} and {reports[0][0]} differ in {difference}")
    if out is not None:
        record = [{"source": s, **dataclasses.asdict(found)} for s, found in reports]
        out.write_text(json.dumps(record, indent=1) + "\n")


def _scorer(classifier, real, count, shape):
    """A scorer against the real images of that name."""
    images = batches_of(real, count, 0, image_size=shape[0] if shape else None)
    return kgl.metrics.Scorer(classifier, images, count)


@cli.command()
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


@cli.command()
@click.option("--model", help="The .keras file of a sampler, tuner or GAN.")
@click.option("--saved-model", help="The folder of an exported sampler, instead.")
@_out
@click.option("--count", default=64, show_default=True, type=click.IntRange(1))
@click.option("--layers", type=click.IntRange(0), help="Apply the first layers only.")
@_batch
@_seed
def sample(model, saved_model, out, count, layers, batch_size, seed):
    """Draw samples from a saved sampler: samples.npy and a picture.

    Those of an exported sampler are what a server gives for the seeds SEED, SEED + 1, ...
    """
    if (model is None) == (saved_model is None):
        raise click.UsageError("Either --model or --saved-model names what to draw from.")
    draw, depth = _from_saved_model(saved_model) if saved_model else _from_keras(model, layers)
    if layers is not None and layers > depth:
        raise click.UsageError(f"The model has {depth} layers. Received: --layers {layers}")
    out = new_folder(out)
    samples = draw(count, layers, batch_size, seed)
    np.save(out / "samples.npy", samples)
    pictures.sample_picture(out / "samples.png", samples[:100] if samples.ndim == 4 else samples)
    click.echo(f"{count} samples of shape {samples.shape[1:]}: {out / 'samples.npy'}")


def _from_keras(path, layers):
    """What draws samples from a Keras file, and the depth it has."""
    model = load_model(path)
    if not hasattr(model, "latent"):
        raise click.UsageError("--model must be a sampler, tuner or GAN of this package.")
    if layers is not None and not hasattr(model, "stack"):
        raise click.UsageError("--layers is for a model that has gradient layers.")

    def draw(count, layers, batch_size, seed):
        latents = model.latent.sample(count, seed=seed)
        if layers is None:
            return model.predict(latents, batch_size=batch_size, verbose=0)
        parts = range(0, count, batch_size)
        return np.concatenate([model(latents[i : i + batch_size], layers=layers) for i in parts])

    return draw, model.stack.depth if layers is not None else 0


def _from_saved_model(path):
    """What draws samples from an exported sampler, and the depth it has."""
    facts = kgl.serving.read_metadata(path)

    def draw(count, layers, batch_size, seed):
        seeds = np.arange(seed, seed + count)
        with kgl.serving.connect(path, batch_size=batch_size) as sampler:
            if layers is None:
                return sampler.sample(seeds)
            return sampler.sample_layers(latent_of(facts).sample_rows(seeds), layers)

    return draw, facts["depth"]


def _fit(model, samples, out, epochs, callbacks, steps_per_epoch=None):
    """Fit with a progress bar, a log, and a backup at each epoch that --resume goes on from."""
    model.fit(
        samples,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        verbose=0,
        callbacks=[
            *callbacks,  # those that write into the logs before those that read them
            keras.callbacks.BackupAndRestore(str(out / "backup")),
            keras.callbacks.CSVLogger(str(out / "log.csv"), append=(out / "backup").exists()),
            keras.callbacks.TerminateOnNaN(raise_error=True),
            TqdmCallback(verbose=1),
        ],
    )


def _adam(learning_rate):
    return keras.optimizers.Adam(learning_rate, beta_1=0.5, beta_2=0.9)


def main(args=None):
    """Run the command line."""
    console.run(cli, args)


if __name__ == "__main__":
    main()
