"""Dualing GANs on MNIST: a classifier's score at the end and on average, and that of real digits.

The scores that Li et al., "Dualing GANs", NeurIPS 2017, report, shortened: a DCGAN of width 8, each
method with one generator step after each step of the critic and with three, and the same number of
critic steps for all.

    TFDS_DATA_DIR=... python benchmarks/dualing_mnist.py --classifier mnist.keras \
        --out docs/results/dualing_mnist.json
"""

import json
import pathlib
import time

import click
import keras
import numpy as np

import keras_gradlayer as kgl

METHODS = ("GAN", "cost", "score")
BATCH, COUNT = 64, 2000
SHAPE = 28, 28, 1


def several(kind, steps, *args, **kwargs):
    """A GAN whose generator takes several steps each time it moves."""

    class Several(kind):
        def generator_move(self, real):
            for _ in range(steps):
                logs = super().generator_move(real)
            return logs

    return Several(*args, **kwargs)


def train(method, generator_steps, iterations, every, score):
    """The scores of a GAN at each `every` iterations."""
    generator = kgl.models.dcgan_generator(SHAPE, latent_dim=64, width=8)
    critic = kgl.models.dcgan_critic(SHAPE, width=8)
    if method == "GAN":
        gan = several(kgl.GAN, generator_steps, generator, critic, "non_saturating")
        given = {"critic_optimizer": keras.optimizers.Adam(1e-3, beta_1=0.5)}
    else:
        kind = kgl.DualingGAN
        gan = several(kind, generator_steps, generator, critic, method, objective="non_saturating")
        given = {}
    gan.compile(generator_optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5), **given)
    data, z = kgl.data.mnist(batch_size=BATCH, seed=0).repeat(), gan.latent.sample(COUNT, seed=1)
    found = []
    for _ in range(iterations // every):
        gan.fit(data, steps_per_epoch=every, verbose=0)
        found.append(score(gan.predict(z, batch_size=500, verbose=0)))
    return found


@click.command()
@click.option("--classifier", required=True, help='Gives {"logits"} for digits in [-1, 1].')
@click.option("--iterations", default=1500, show_default=True, help="Steps of the critic.")
@click.option("--every", default=250, show_default=True, help="Iterations between two scores.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=pathlib.Path))
def main(classifier, iterations, every, seeds, out):
    """Print a row for each method, number of generator steps and seed."""
    classifier = keras.saving.load_model(classifier, compile=False)

    def score(images):
        logits = classifier.predict(images, batch_size=500, verbose=0)["logits"]
        return kgl.metrics.classifier_score(logits)

    [real] = kgl.data.mnist("test", batch_size=COUNT, shuffle=False).take(1).as_numpy_iterator()
    rows = [{"method": "real data", "end": round(score(real), 3)}]
    click.echo(json.dumps(rows[-1]))
    for seed in range(seeds):
        for steps in (1, 3):
            for method in METHODS:
                keras.utils.set_random_seed(seed)
                start = time.process_time()
                found = train(method, steps, iterations, every, score)
                row = {"method": method, "generator_steps": steps, "seed": seed}
                row |= {"iterations": iterations, "samples": COUNT}
                row |= {"end": round(found[-1], 3), "average": round(float(np.mean(found)), 3)}
                row |= {"cpu_seconds": round(time.process_time() - start)}
                rows.append(row | {"scores": [round(s, 3) for s in found]})
                click.echo(json.dumps(rows[-1]))
                if out:
                    out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
