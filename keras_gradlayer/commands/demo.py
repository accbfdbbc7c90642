"""`keras-gradlayer demo`: the paper's toys, and experiments that show the point of a method."""

import dataclasses
import importlib
import pathlib
import pkgutil
import subprocess
import sys
import time

import click
import keras
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer import experiments, pictures
from keras_gradlayer.commands.console import need, new_folder, next_folder
from keras_gradlayer.commands.options import COUNT, FOLDER, SEED, option, parse_particles
from keras_gradlayer.commands.runs import Progress

EXPERIMENTS = [module.name for module in pkgutil.iter_modules(experiments.__path__)]


@dataclasses.dataclass(frozen=True)
class Toy:
    """One toy experiment of Nitanda & Suzuki (2018), Figure 2.

    Attributes:
        load: makes the data set.
        units: width of the four-layer critic.
        critic_steps: T0, five passes over the data at b = 50.
        mixture: where the modes are, if the data is a mixture.
    """

    load: callable
    units: int
    critic_steps: int
    mixture: kgl.data.GaussianMixture | None = None


TOYS = {
    "eight_gaussians": Toy(kgl.data.eight_gaussians, 128, 5 * 500 // 50, kgl.data.EIGHT_GAUSSIANS),
    "twenty_five_gaussians": Toy(
        kgl.data.twenty_five_gaussians, 512, 5 * 1000 // 50, kgl.data.TWENTY_FIVE_GAUSSIANS
    ),
    "swiss_roll": Toy(kgl.data.swiss_roll, 128, 5 * 500 // 50),
}


@click.command(
    "demo",
    params=[
        option(
            "--data",
            "The toy data set.",
            "eight_gaussians",
            type=click.Choice(list(TOYS)),
        ),
        option(
            "--experiment",
            "Run this experiment instead; it takes seconds to minutes.",
            type=click.Choice(EXPERIMENTS),
        ),
        option(
            "--out", "Folder to write to, new or empty; runs/demo-NAME-N by default.", type=FOLDER
        ),
        option("--layers", "Number of gradient layers (T).", 100, type=COUNT),
        option(
            "--particles",
            '"auto", a number, or "none" to replay fresh latents at every critic update.',
            "auto",
        ),
        SEED,
    ],
)
def command(data, experiment, out, layers, particles, seed):
    """Turn noise into a toy data set with gradient layers alone (the paper's Figure 2)."""
    particles = parse_particles(particles)
    given = click.get_current_context().get_parameter_source
    for parameter in ("data", "layers", "particles"):
        if experiment and given(parameter) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{parameter} is not for --experiment.")
    need("matplotlib", extra="plots")
    out = new_folder(out or next_folder(f"runs/demo-{experiment or data}"))
    if experiment:
        keras.utils.set_random_seed(seed)
        figure = out / f"{experiment}.png"
        importlib.import_module(f"{experiments.__name__}.{experiment}").run(figure)
        click.echo(f"figure: {figure}")
        return
    run(data, out, layers, particles, seed)


def run(name, out, layers=100, particles="auto", seed=0):
    """Fine-tune noise into a toy data set; write the sampler, its samples and the figure.

    Args:
        name: one of `TOYS`.
        out: folder to write to.
        layers: T, the number of gradient layers.
        particles: as for `FineTuner`.
        seed: integer that everything random follows from.
    """
    toy, out = TOYS[name], pathlib.Path(out)
    keras.utils.set_random_seed(seed)
    points = toy.load(seed=seed)
    tuner = kgl.FineTuner(
        generator=None,
        critic=kgl.models.mlp_critic((2,), units=toy.units, depth=3),
        step_size=0.1,
        latent=kgl.latents.Gaussian((2,), stddev=0.5),
        max_layers=layers,
        particles=particles,
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    start = time.perf_counter()
    tuner.fit(
        points.repeat(),
        epochs=layers,
        steps_per_epoch=toy.critic_steps,
        callbacks=[
            kgl.callbacks.CriticInnerLoop(toy.critic_steps),
            kgl.callbacks.GradientPenalty(10.0, one_sided=True),
            Progress("layer"),
        ],
        verbose=0,
    )
    click.echo(f"{layers} gradient layers in {time.perf_counter() - start:.1f} s")

    saved = out / "sampler.keras"
    tuner.sampler().save(saved)
    sample = [sys.executable, "-m", "keras_gradlayer.commands", "sample", "--model", str(saved)]
    sample += f"--count 10000 --batch-size 1000 --seed {seed}".split()
    sample += ["--out", str(out / "samples")]
    subprocess.run(sample, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    samples = np.load(out / "samples" / "samples.npy")
    click.echo(f"{len(samples):,} fresh samples from {saved}, loaded in a new process")
    if toy.mixture is not None:
        found = kgl.metrics.mode_coverage(samples, *toy.mixture)
        click.echo(
            f"modes: {found.modes} of {len(toy.mixture.centers)}, each holds "
            f"{100 * found.shares.min():.1f}-{100 * found.shares.max():.1f}% of the samples; "
            f"{100 * found.within:.1f}% lie within 4 stddev of a mode"
        )
    else:
        dense = np.concatenate(list(toy.load(n=5000, seed=seed + 1).as_numpy_iterator()))
        nearest = np.concatenate(
            [
                np.linalg.norm(part[:, None] - dense[None], axis=-1).min(axis=1)
                for part in np.array_split(samples, 20)
            ]
        )
        click.echo(
            f"distance to the roll: mean {nearest.mean():.4f}, 95% below "
            f"{np.quantile(nearest, 0.95):.4f} (the data's noise has stddev {0.25 / 16:.4f})"
        )
    figure = out / "flow.png"
    panels = sorted({0, layers // 4, layers // 2, layers})
    shown = np.concatenate(list(points.as_numpy_iterator()))
    pictures.flow_figure(figure, tuner, tuner.latent.sample(2000, seed=seed), shown, panels)
    click.echo(f"figure: {figure}")
