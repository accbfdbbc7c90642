"""`keras-gradlayer demo`: the paper's toys, and experiments that show the point of a method."""

import importlib
import itertools
import pathlib
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import click
import keras
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer import experiments, pictures
from keras_gradlayer.commands.console import need, new_folder
from keras_gradlayer.commands.options import COUNT, FOLDER, PARTICLES, SEED, option, parse_particles
from keras_gradlayer.commands.progress import Progress

EXPERIMENTS = [module.name for module in pkgutil.iter_modules(experiments.__path__)]


class Toy(NamedTuple):
    """A toy experiment of Nitanda & Suzuki (2018), Figure 2: its data and four-layer critic."""

    load: Callable
    units: int
    critic_steps: int  # T0: five passes over the data at b = 50
    mixture: kgl.data.GaussianMixture | None = None


TOYS = {
    "eight_gaussians": Toy(kgl.data.eight_gaussians, 128, 50, kgl.data.EIGHT_GAUSSIANS),
    "twenty_five_gaussians": Toy(
        kgl.data.twenty_five_gaussians, 512, 100, kgl.data.TWENTY_FIVE_GAUSSIANS
    ),
    "swiss_roll": Toy(kgl.data.swiss_roll, 128, 50),
}


@click.command(
    "demo",
    params=[
        option("--data", "The toy data set.", "eight_gaussians", type=click.Choice(list(TOYS))),
        option("--experiment", "Run this instead (minutes).", type=click.Choice(EXPERIMENTS)),
        option("--out", "Folder to write to, new or empty; runs/demo-NAME-N if none.", type=FOLDER),
        option("--layers", "Number of gradient layers (T).", 100, type=COUNT),
        PARTICLES,
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
    numbered = (pathlib.Path(f"runs/demo-{experiment or data}-{n}") for n in itertools.count(1))
    out = new_folder(out or next(path for path in numbered if not path.exists()))
    if experiment:
        keras.utils.set_random_seed(seed)
        figure = out / f"{experiment}.png"
        importlib.import_module(f"{experiments.__name__}.{experiment}").run(figure)
        click.echo(f"figure: {figure}")
    else:
        run(data, out, layers, particles, seed)


def run(name, out, layers=100, particles="auto", seed=0):
    """Fine-tune noise into one of `TOYS`; write the sampler, its samples and the figure."""
    toy, out = TOYS[name], pathlib.Path(out)
    keras.utils.set_random_seed(seed)
    data = toy.load(seed=seed)
    tuner = kgl.FineTuner(
        generator=None,
        critic=kgl.models.mlp_critic((2,), units=toy.units),
        step_size=0.1,
        latent=kgl.latents.Gaussian((2,), stddev=0.5),
        max_layers=layers,
        particles=particles,
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, 0.5, 0.9))
    start = time.perf_counter()
    tuner.fit(
        data.repeat(),
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
    sample = f"-m keras_gradlayer.commands sample --count 10000 --batch-size 1000 --seed {seed}"
    sample = [sys.executable, *sample.split(), "--model", saved, "--out", out / "samples"]
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
        dense = _points(toy.load(n=5000, seed=seed + 1))
        nearest = [np.linalg.norm(x - dense, axis=1).min() for x in samples]
        click.echo(
            f"distance to the roll: mean {np.mean(nearest):.4f}, 95% below "
            f"{np.quantile(nearest, 0.95):.4f} (the data's noise has stddev {0.25 / 16:.4f})"
        )
    figure, latents = out / "flow.png", tuner.latent.sample(2000, seed=seed)
    depths = sorted({0, layers // 4, layers // 2, layers})
    panels = [("1 layer" if k == 1 else f"{k} layers", tuner(latents, layers=k)) for k in depths]
    points = _points(data)
    none = points[:0]
    shown = [none] * len(panels) + [points]  # the data, in a colour of its own
    pictures.point_panels(figure, {"": [*panels, ("data", none)]}, 1.1, shown)
    pictures.animate_flow(tuner, latents[:1000], out / "flow.gif", points)
    click.echo(f"figure: {figure}; animation: {out / 'flow.gif'}")


def _points(data):
    return np.concatenate(list(data.as_numpy_iterator()))
