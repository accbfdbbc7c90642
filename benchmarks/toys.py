"""The three toys of Figure 2: gradient layers alone beside WGAN-GP, scored and drawn.

python benchmarks/toys.py --out runs/toys.json --figure runs/toys.png
"""

import json
import pathlib

import click
import keras
import numpy as np

import keras_gradlayer as kgl
from keras_gradlayer.commands import demo
from keras_gradlayer.experiments import methods
from keras_gradlayer.pictures import point_panels

DEPTHS = (0, 25, 50, 100)


def fine_tuner(toy):
    """100 gradient layers on noise, as `keras-gradlayer demo` makes them."""
    tuner = kgl.FineTuner(
        None,
        kgl.models.mlp_critic((2,), units=toy.units, depth=3),
        step_size=0.1,
        latent=kgl.latents.Gaussian((2,), stddev=0.5),
        max_layers=DEPTHS[-1],
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    tuner.fit(
        toy.load(seed=0).repeat(),
        epochs=DEPTHS[-1],
        steps_per_epoch=toy.critic_steps,
        callbacks=[
            kgl.callbacks.CriticInnerLoop(toy.critic_steps),
            kgl.callbacks.GradientPenalty(10.0, one_sided=True),
        ],
        verbose=0,
    )
    return tuner


@click.command()
@click.option("--count", default=10_000, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path))
@click.option("--figure", required=True, type=click.Path(path_type=pathlib.Path))
def main(count, out, figure):
    """Write the scores of each toy, by depth and by iterations, and the figure."""
    for path in (out, figure):
        if path.exists():
            raise click.UsageError(f"{path} exists; nothing was written.")
        path.parent.mkdir(parents=True, exist_ok=True)
    results, rows = {}, {}
    for name, toy in demo.TOYS.items():
        keras.utils.set_random_seed(0)
        tuner = fine_tuner(toy)
        z = tuner.latent.sample(count, seed=1)
        sets = {f"{k} layers": tuner(z, layers=k).numpy() for k in DEPTHS}
        for iterations in (1000, 10_000):
            keras.utils.set_random_seed(0)
            gan = methods.train("WGAN-GP", name, iterations)
            sets[f"WGAN-GP, {iterations:,}"] = gan(gan.latent.sample(count, seed=1)).numpy()
        real = np.concatenate(list(toy.load(n=count, batch_size=500, seed=9).as_numpy_iterator()))
        results[name] = {}
        for label, points in sets.items():
            found = {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(real, points)}
            if toy.mixture is not None:
                coverage = kgl.metrics.mode_coverage(points, *toy.mixture)
                found |= {"modes": coverage.modes, "within_4_stddev": coverage.within}
            results[name][label] = found
            click.echo(f"{name}, {label}: {found}")
        rows[name] = [(label, points[:1000]) for label, points in sets.items()]
        rows[name].append(("data", real[:1000]))
    out.write_text(json.dumps({"samples": count, "toys": results}, indent=1) + "\n")
    point_panels(figure, rows, 1.1)


if __name__ == "__main__":
    main()
