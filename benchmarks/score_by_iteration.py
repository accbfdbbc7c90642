"""A WGAN-GP's classifier score by generator iteration, from the start: Figure 3, left, shortened.

    TFDS_DATA_DIR=... python benchmarks/score_by_iteration.py --classifier cifar10_resnet56.keras \
        --out docs/results/score_by_iteration.json --figure docs/images/score_by_iteration.png

The figure draws what the JSON file holds.
"""

import json
import pathlib
import time

import click
import keras
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer import pictures

FILE = click.Path(path_type=pathlib.Path)


@click.command()
@click.option("--classifier", required=True, help="As for kgl.metrics.Scorer.")
@click.option("--data", type=click.Choice(["cifar10", "mnist"]), default="cifar10")
@click.option("--width", default=16, show_default=True)
@click.option("--iterations", default=600, show_default=True)
@click.option("--every", default=100, show_default=True)
@click.option("--count", default=1000, show_default=True, help="Samples, and real images.")
@click.option("--out", type=FILE, required=True)
@click.option("--figure", type=FILE)
def main(classifier, data, width, iterations, every, count, out, figure):
    """Train, score at the start and each `--every` iterations, and write the JSON file."""
    keras.utils.set_random_seed(0)
    load = getattr(kgl.data, data)
    scorer = kgl.metrics.Scorer(classifier, load("test", batch_size=250, shuffle=False), count)
    preset = kgl.presets.wgan_gp()
    samples = load(batch_size=preset.batch_size, seed=0).repeat()
    shape = samples.element_spec.shape[1:]
    gan = preset.gan(
        kgl.models.dcgan_generator(tuple(shape), width=width),
        kgl.models.dcgan_critic(tuple(shape), width=width),
    )
    rows, z = [], gan.latent.sample(count, seed=1)
    start = time.process_time()
    for i in range(0, iterations + 1, every):
        if i:
            steps = preset.critic_steps * every
            gan.fit(samples, steps_per_epoch=steps, callbacks=preset.callbacks, verbose=0)
        scores = scorer(gan.predict(z, batch_size=250, verbose=0)).scores
        row = {"iterations": i, "cpu_seconds": round(time.process_time() - start)}
        rows.append(row | {k: scores[k] for k in ("classifier_score", "frechet_distance")})
        click.echo(json.dumps(rows[-1]))
    real = scorer(load(batch_size=250, seed=1).take(-(-count // 250))).scores
    found = {"data": data, "width": width, "samples": count, "rows": rows}
    found["real"] = {k: real[k] for k in ("classifier_score", "frechet_distance")}
    out.write_text(json.dumps(found, indent=1) + "\n")
    if figure:
        columns = {k: np.array([row[k] for row in rows]) for k in rows[0]}
        with pictures.figure(figure, 5, 3.4) as [[ax]]:
            ax.plot(columns["iterations"], columns["classifier_score"], marker=".")
            ax.set(xlabel="generator iterations", ylabel="classifier score", title=data)
            ax.grid(alpha=0.3)


if __name__ == "__main__":
    main()
