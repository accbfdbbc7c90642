"""What a call of the exported sampler costs, against the same Keras model compiled.

    python benchmarks/serving_call.py

Prints the ratio of the medians of calls made in turn: the signature `serving_default`, loaded from
its SavedModel, over `tf.function(sampler)`, both without XLA as a server has it. For comparison
also over the model compiled by XLA.
"""

import tempfile

import click
import tensorflow as tf
from timing import medians

import keras_gradlayer as kgl


def toy(layers):
    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,)), 0.1, max_layers=layers)
    for _ in range(layers):
        tuner.stack.append()
    return tuner


def images(layers):
    generator = kgl.models.dcgan_generator((32, 32, 3), width=32)
    critic = kgl.models.dcgan_critic((32, 32, 3), width=32)
    tuner = kgl.FineTuner(generator, critic, 0.5, max_layers=layers)
    for _ in range(layers):
        tuner.stack.append()
    return tuner


@click.command()
@click.option("--repeats", default=50, show_default=True)
def main(repeats):
    """Time both models at two batch sizes."""
    for name, tuner, xla in (("toy, 100 layers", toy(100), True), ("DCGAN, 6", images(6), False)):
        sampler = tuner.sampler()
        with tempfile.TemporaryDirectory() as folder:
            served = tf.saved_model.load(str(kgl.serving.export_sampler(tuner, folder + "/m")))
        signature = served.signatures["serving_default"]
        keras_call = tf.function(sampler, autograph=False)
        xla_call = tf.function(sampler, autograph=False, jit_compile=True)
        for rows in (1, 64):
            z = tuner.latent.sample(rows, seed=0)
            calls = [lambda: signature(latent=z), lambda: keras_call(z)]  # noqa: B023
            if xla:
                calls.append(lambda: xla_call(z))  # noqa: B023
            spent = medians(calls, repeats)
            line = f"{name}, {rows} rows: {spent[0] / spent[1]:.2f} x the compiled Keras model"
            click.echo(line + (f", {spent[0] / spent[2]:.1f} x with XLA" if xla else ""))


if __name__ == "__main__":
    main()
