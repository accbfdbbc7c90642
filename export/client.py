"""Draw samples from a server: images as PNG files, other samples as a NumPy file.

python export/client.py --url grpc://localhost:8500 --count 16 --out runs/served
"""

import logging
import pathlib

import click
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer.commands import console


@click.command()
@click.option("--url", default="grpc://localhost:8500", show_default=True, help="Or http://…:8501.")
@click.option("--model", default="sampler", show_default=True)
@click.option("--version", type=click.IntRange(1), help="A version's number.")
@click.option("--label", help="A version's label, such as stable.")
@click.option("--count", default=16, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, help="Of the first sample; the next is + 1.")
@click.option("--batch-size", default=64, show_default=True, help="Rows a request at most.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for a request.")
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="New folder.")
def main(url, model, version, label, count, seed, batch_size, timeout, out):
    """Draw samples from a server: images as PNG files, other samples as a NumPy file."""
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of every retry
    options = {"version": version, "label": label, "batch_size": batch_size, "timeout": timeout}
    seeds = range(seed, seed + count)
    with kgl.serving.connect(url, model, **options) as client:
        try:
            images, samples = client.image(seeds), None
        except ValueError:  # there is no such signature: they are not images
            images, samples = [], client.sample(seeds)
    out = console.new_folder(out)
    for number, png in zip(seeds, images):
        (out / f"{number}.png").write_bytes(png)
    if samples is not None:
        np.save(out / "samples.npy", samples)
    click.echo(f"{count} samples: {out}")


if __name__ == "__main__":
    console.run(main)
