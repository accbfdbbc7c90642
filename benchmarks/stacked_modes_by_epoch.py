"""Modes and KL on stacked MNIST by epoch: a gradient-regularised DCGAN and a traditional one.

Figure 2 of Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS 2017,
shows samples after 1, 4 and 20 epochs; here are the modes that a classifier of digits finds among
the samples, of 1,000, and KL(samples || uniform), and less training.

    TFDS_DATA_DIR=... python benchmarks/stacked_modes_by_epoch.py --classifier mnist.keras \
        --out docs/results/stacked_modes.json
"""

import json
import pathlib

import click
import keras
from stacked_modes import coverage

import keras_gradlayer as kgl

SHAPE = 28, 28, 3
BATCH = 64
EPOCH = 60_000 // BATCH


def train(weight, width, epochs, looks):
    """The GAN with that weight of the regularizer, `looks` times an epoch, with the epoch."""
    gan = kgl.GAN(
        kgl.models.dcgan_generator(SHAPE, latent_dim=64, width=width),
        kgl.models.dcgan_critic(SHAPE, width=width),
        "non_saturating",
    )
    adams = [keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)]
    gan.compile(generator_optimizer=adams[0], critic_optimizer=adams[1])
    data = kgl.data.stacked_mnist(batch_size=BATCH, seed=0).repeat()
    callbacks = [kgl.callbacks.GeneratorGradientRegularizer(weight)] if weight else []
    for i in range(1, epochs * looks + 1):
        gan.fit(data, steps_per_epoch=EPOCH // looks, callbacks=callbacks, verbose=0)
        yield i / looks, gan


@click.command()
@click.option("--classifier", required=True, help='Gives {"logits"} for digits in [-1, 1].')
@click.option("--width", default=8, show_default=True)
@click.option("--epochs", default=1, show_default=True)
@click.option("--looks", default=4, show_default=True, help="An epoch.")
@click.option("--count", default=5000, show_default=True, help="Samples.")
@click.option("--weight", default=0.5, show_default=True, help="η of the regularizer.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=pathlib.Path))
def main(classifier, width, epochs, looks, count, weight, seeds, out):
    """Print a row for each method, seed and look."""
    classifier = keras.saving.load_model(classifier, compile=False)
    rows = []
    for seed in range(seeds):
        for name, eta in ("traditional", 0.0), ("regularised", weight):
            keras.utils.set_random_seed(seed)
            for epoch, gan in train(eta, width, epochs, looks):
                found = coverage(gan, classifier, count)
                row = {"method": name, "seed": seed, "width": width, "epoch": epoch}
                row |= {"samples": count, "modes": found.modes, "kl": round(found.divergence, 3)}
                rows.append(row)
                click.echo(json.dumps(row))
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
