"""How many of the 1,000 modes of stacked MNIST a generator holds.

Each channel of 25,600 samples is shown to a classifier of digits, as in Metz et al. (2017, section
3.3.1) and Srivastava et al. (2017).

    keras-gradlayer train --data stacked_mnist --width 16 --iterations 1500 --out runs/stacked
    python benchmarks/stacked_modes.py --model runs/stacked/gan.keras --classifier mnist.keras
"""

import click
import keras
import numpy as np

import keras_gradlayer as kgl


def coverage(model, classifier, count):
    """The modes among samples of a model, and KL(samples || uniform)."""
    samples = model.predict(model.latent.sample(count, seed=1), batch_size=256, verbose=0)
    labels = [
        classifier.predict(samples[..., i : i + 1], batch_size=256, verbose=0)["logits"].argmax(1)
        for i in range(3)
    ]
    return kgl.metrics.stacked_mode_coverage(np.stack(labels, axis=1))


@click.command()
@click.option("--model", required=True, help="The .keras file of a GAN, tuner or sampler.")
@click.option("--classifier", required=True, help='Gives {"logits"} for digits in [-1, 1].')
@click.option("--count", default=25_600, show_default=True)
def main(model, classifier, count):
    """Print the number of modes, and KL(samples || uniform)."""
    found = coverage(*map(keras.saving.load_model, (model, classifier)), count)
    click.echo(f"{found.modes} of 1,000 modes, KL {found.divergence:.3f}, {count} samples")


if __name__ == "__main__":
    main()
