"""The paper's toy experiments: gradient layers alone turn noise into the data (g = id)."""

import dataclasses
import pathlib
import subprocess
import sys
import time

import click
import keras
import numpy as np
from tqdm.keras import TqdmCallback

from keras_gradlayer import data, pictures
from keras_gradlayer.callbacks import CriticInnerLoop, GradientPenalty
from keras_gradlayer.latents import Gaussian
from keras_gradlayer.metrics import mode_coverage
from keras_gradlayer.models import mlp_critic
from keras_gradlayer.trainers import FineTuner


@dataclasses.dataclass(frozen=True)
class Toy:
    """One toy experiment of Nitanda & Suzuki (2018), Figure 2.

    Attributes:
        load: the data set, seed -> dataset.
        units: width of the four-layer critic.
        critic_steps: T0, five passes over the data at b = 50.
        mixture: where the modes are, if the data is a mixture.
    """

    load: callable
    units: int
    critic_steps: int
    mixture: data.GaussianMixture | None = None


TOYS = {
    "eight_gaussians": Toy(data.eight_gaussians, 128, 5 * 500 // 50, data.EIGHT_GAUSSIANS),
    "twenty_five_gaussians": Toy(
        data.twenty_five_gaussians, 512, 5 * 1000 // 50, data.TWENTY_FIVE_GAUSSIANS
    ),
    "swiss_roll": Toy(data.swiss_roll, 128, 5 * 500 // 50),
}


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
    tuner = FineTuner(
        generator=None,
        critic=mlp_critic((2,), units=toy.units, depth=3),
        step_size=0.1,
        latent=Gaussian((2,), stddev=0.5),
        max_layers=layers,
        particles=particles,
    )
    tuner.compile(keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    start = time.perf_counter()
    tuner.fit(
        points.repeat(),
        epochs=layers,
        steps_per_epoch=toy.critic_steps,
        callbacks=[
            CriticInnerLoop(toy.critic_steps),
            GradientPenalty(10.0, one_sided=True),
            TqdmCallback(verbose=0, desc=f"{name}: layers"),
        ],
        verbose=0,
    )
    click.echo(f"{layers} gradient layers in {time.perf_counter() - start:.1f} s")

    saved = out / "sampler.keras"
    tuner.sampler().save(saved)
    command = [sys.executable, "-m", "keras_gradlayer.cli", "sample", "--model", str(saved)]
    command += f"--count 10000 --batch-size 1000 --seed {seed}".split()
    command += ["--out", str(out / "samples")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    samples = np.load(out / "samples" / "samples.npy")
    click.echo(f"{len(samples):,} fresh samples from {saved}, loaded in a new process")
    if toy.mixture is not None:
        found = mode_coverage(samples, *toy.mixture)
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
