"""The command line, `keras-gradlayer`."""

import pathlib
import shutil

import click
import keras
from tqdm.keras import TqdmCallback

import keras_gradlayer as kgl
from keras_gradlayer import console, pictures, report
from keras_gradlayer import demo as demos
from keras_gradlayer.console import new_folder, next_folder, run_folder, save_result
from keras_gradlayer.experiments import EXPERIMENTS
from keras_gradlayer.options import (
    IMAGE_SHAPES,
    IMAGES,
    METHODS,
    batch_option,
    load_data,
    load_model,
    make_preset,
    out_option,
    parse_particles,
    seed_option,
)
from keras_gradlayer.outputs import export, make_scorer, sample, score

_POSITIVE = click.FloatRange(min=0, min_open=True)

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
@seed_option
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
@out_option
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
@click.option("--image-size", type=click.IntRange(1), help="For a folder of images; 32 by default.")
@click.option("--learning-rate", type=_POSITIVE, help="Of both optimizers.")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run in --out.")
@batch_option
@click.option("--penalty", type=float, help="λ of the penalty.")
@_one_sided
@seed_option
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
    if data in IMAGE_SHAPES and image_size is not None:
        raise click.UsageError(f"--image-size is for folders of images, not for {data}.")
    image_size = image_size or 32
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
    pictures.sample_picture(out / "samples.png", gan.predict(latents, verbose=0))
    pictures.curves(out / "curves.png", out / "log.csv", f"{iterations // epochs} iterations")
    save_result(gan, out / "gan.keras")
    shutil.rmtree(out / "backup")
    click.echo(f"{iterations // epochs * epochs} generator updates; generator, critic: {out}")


@cli.command()
@_data
@click.option("--generator", help="Its .keras file; none is the identity on the latent.")
@click.option("--critic", required=True, help="Its .keras file.")
@out_option
@click.option(
    "--layers",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="T, the epochs, and the room for layers.",
)
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
@click.option(
    "--real", help="What to score against; by default --data's test images, or its folder."
)
@click.option(
    "--score-count", default=10_000, show_default=True, type=click.IntRange(2), help="Samples."
)
@click.option(
    "--line-search",
    is_flag=True,
    help="Stack a layer where it helps on --data's images, before the critic trains, too.",
)
@click.option("--resume", is_flag=True, help="Go on with an unfinished run in --out.")
@batch_option
@_penalty
@_one_sided
@seed_option
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
    line_search,
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
        if line_search and real is None and data not in IMAGES:
            click.echo("The search and the scores take the same images; --real names others.")
        real = real or (f"{data}:test" if data in IMAGES else data)
        click.get_current_context().params["real"] = real  # for run.json
        scorer = make_scorer(classifier, real, score_count, tuner.sample_shape)
    elif real or line_search:
        name = "--real" if real else "--line-search"
        raise click.UsageError(f"{name} is for --classifier, which makes the score.")
    if line_search:
        # Not by the images that are reported against, where there are others.
        fitted = make_scorer(classifier, data, score_count, tuner.sample_shape)
        callbacks.append(kgl.callbacks.LineSearch(fitted))
    held_out = IMAGES[data](split="test[:250]", batch_size=50) if data in IMAGES else None
    monitor = kgl.callbacks.FlowMonitor(held_out, samples=250)
    out = run_folder(out, resume, "tuner.keras")
    if scorer:
        path = out / "scores.json"
        callbacks.append(kgl.callbacks.Scores(scorer, restore_best_layers=True, path=path))
    if len(tuner.sample_shape) == 3 or tuner.sample_shape == (2,):
        callbacks.append(kgl.callbacks.SampleGrid(out / "grid"))
    callbacks.append(monitor)
    latents = tuner.latent.sample(64, seed=seed)
    if not (out / "before.png").exists():
        pictures.sample_picture(out / "before.png", tuner(latents, layers=0), tuner.output_range())
    _fit(tuner, samples, out, layers, callbacks, steps_per_epoch=critic_steps)
    tuner.sampler().save(out / "sampler.keras")
    samples = tuner.predict(latents, verbose=0)
    pictures.sample_picture(out / "after.png", samples, tuner.output_range())
    pictures.curves(out / "curves.png", out / "log.csv", "epoch")
    page = report.write_report(out, tuner.stack.depth)
    save_result(tuner, out / "tuner.keras")
    shutil.rmtree(out / "backup")
    click.echo(f"{tuner.stack.depth} gradient layers; sampler: {out / 'sampler.keras'}; {page}")


def _fit(model, samples, out, epochs, callbacks, steps_per_epoch=None):
    """Fit with a progress bar, a log, and a backup at each epoch that --resume goes on from."""
    model.fit(
        samples,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        verbose=0,
        callbacks=[
            *callbacks,  # those that write into the logs before those that read them
            # An epoch that is interrupted while it is scored is repeated, and has its row.
            keras.callbacks.BackupAndRestore(str(out / "backup"), delete_checkpoint=False),
            keras.callbacks.CSVLogger(str(out / "log.csv"), append=(out / "backup").exists()),
            keras.callbacks.TerminateOnNaN(raise_error=True),
            TqdmCallback(verbose=1),
        ],
    )


def _adam(learning_rate):
    return keras.optimizers.Adam(learning_rate, beta_1=0.5, beta_2=0.9)


for command in (export, sample, score):
    cli.add_command(command)


def main(args=None):
    """Run the command line."""
    console.run(cli, args)


if __name__ == "__main__":
    main()
