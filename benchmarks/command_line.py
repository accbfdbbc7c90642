"""What the command line's progress bar, log and backups cost beside plain `fit`.

    python benchmarks/command_line.py

Prints the updates a second of the function that `keras-gradlayer train` and `finetune` fit with,
over those of `fit` with the method's callbacks alone, for WGAN-GP on points and on images of
MNIST's size. Epochs are those of `train`, a hundred generator updates. The two take turns.
"""

import functools
import pathlib
import tempfile

import click
import keras
import numpy as np
import tensorflow as tf
from timing import interleaved, ratio, use_all_cores

import keras_gradlayer as kgl
from keras_gradlayer.commands import runs, signals


def points():
    """A GAN of points in the plane."""
    z = keras.Input((2,))
    x = keras.layers.Dense(128, "relu")(keras.layers.Dense(128, "relu")(z))
    generator = keras.Model(z, keras.layers.Dense(2, "tanh")(x))
    return generator, kgl.models.mlp_critic((2,)), kgl.data.eight_gaussians(batch_size=64)


def images():
    """A small DCGAN of grey images."""
    shape = (28, 28, 1)
    x = np.random.default_rng(0).uniform(-1, 1, (640, *shape)).astype("float32")
    samples = tf.data.Dataset.from_tensor_slices(x).shuffle(640).batch(64, drop_remainder=True)
    return kgl.models.dcgan_generator(shape, 32, 8), kgl.models.dcgan_critic(shape, 8), samples


def compare(make, epochs, iterations, rounds):
    """The ratio of updates a second, as text."""
    generator, critic, samples = make()
    preset = kgl.presets.wgan_gp()
    gan = preset.gan(generator, critic)
    samples = samples.repeat()
    steps = preset.critic_steps * iterations

    def plain():
        fit = functools.partial(gan.fit, samples, epochs=epochs, steps_per_epoch=steps)
        fit(callbacks=preset.callbacks, verbose=0)

    def command_line():
        with tempfile.TemporaryDirectory() as out, signals.Signals() as received:
            run = runs.Run(pathlib.Path(out), "", received)
            run.fit(gan, samples, epochs, preset.callbacks, steps)

    times = interleaved([plain, command_line], rounds, warmup=1)
    return ratio(*times)


@click.command()
@click.option("--epochs", default=5, show_default=True, help="In each fit.")
@click.option("--iterations", default=100, show_default=True, help="Generator updates an epoch.")
@click.option("--rounds", default=7, show_default=True)
def main(epochs, iterations, rounds):
    """Print the ratios; 1 where the command line costs nothing."""
    use_all_cores()
    for name, make in (("points", points), ("images", images)):
        keras.utils.set_random_seed(0)
        found = compare(make, epochs, iterations, rounds)
        click.echo(f"{name}: updates a second of the command line / of fit {found}")


if __name__ == "__main__":
    main()
