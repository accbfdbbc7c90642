"""How long an exported sampler takes to load and to answer first, by its number of layers.

    python benchmarks/saved_model_load.py

Prints, for a DCGAN critic of width 32, the time to load the SavedModel less the time to read its
files, and the time of the first request, each over that with one layer (medians of loads made in
turn; the files are in memory).
"""

import pathlib
import tempfile

import click
import numpy as np
import tensorflow as tf
from timing import timed, use_all_cores

import keras_gradlayer as kgl


def exported(layers, folder):
    generator = kgl.models.dcgan_generator((32, 32, 3), width=32)
    critic = kgl.models.dcgan_critic((32, 32, 3), width=32)
    tuner = kgl.FineTuner(generator, critic, 0.5, insert="top", max_layers=layers)
    for _ in range(layers):
        tuner.stack.append()
    return pathlib.Path(kgl.serving.export_sampler(tuner, f"{folder}/{layers}"))


def read(path):
    return sum(len(file.read_bytes()) for file in path.rglob("*") if file.is_file())


def first_request(served):
    z = tf.random.normal((1, 128))
    # One layer of all, so that the request itself costs the same at each depth.
    signature = served.signatures["sample_layers"]
    return signature(latent=z, layers=tf.ones((1,), "int32"))


@click.command()
@click.option("--layers", multiple=True, default=(1, 50, 200), show_default=True)
@click.option("--repeats", default=5, show_default=True)
def main(layers, repeats):
    """Load each in turn, and print the ratios to the first."""
    use_all_cores()
    with tempfile.TemporaryDirectory() as folder:
        paths = [exported(n, folder) for n in layers]
        times = np.zeros((repeats + 1, len(paths), 3, 2))
        for i in range(repeats + 1):
            for path, taken in zip(paths, times[i]):
                taken[0], size = timed(lambda: read(path))  # noqa: B023
                taken[1], served = timed(lambda: tf.saved_model.load(str(path)))  # noqa: B023
                taken[2], _ = timed(lambda: first_request(served))  # noqa: B023
                if i == 0:
                    click.echo(f"{path.parent.name} layers: {size / 1e6:.0f} MB")
    reading, loading, answering = np.median(times[1:], axis=0)[..., 0].T
    for n, r, load, answer in zip(layers, reading, loading - reading, answering):
        click.echo(
            f"{n} layers: load {load / (loading - reading)[0]:.2f} x that of {layers[0]} (reading "
            f"its bytes: {r / load:.2f} x the rest), first request {answer / answering[0]:.2f} x"
        )


if __name__ == "__main__":
    main()
