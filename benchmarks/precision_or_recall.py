"""Where the line search stops for precision, for recall and for both.

    TFDS_DATA_DIR=... python benchmarks/precision_or_recall.py --generator generator.keras \
        --critic critic.keras --classifier cifar10_resnet56.keras --out docs/results/monitors.json

A critic as it was handed over is followed in the middle of the generator, by the score that each
row names. The rows are judged by other latents and other real images than the search.
"""

import json
import pathlib

import click
import keras

import keras_gradlayer as kgl

FILE = click.Path(path_type=pathlib.Path)


def f_score(beta):
    """F_β: recall counts β times as much as precision."""

    def weigh(s):
        p, r = s["precision"], s["recall"]
        return (1 + beta**2) * p * r / max(beta**2 * p + r, 1e-9)

    return weigh


MONITORS = {
    "frechet_distance": "frechet_distance",
    "precision": "precision",
    "F, β = 1/4": f_score(0.25),
    "F, β = 1": f_score(1.0),
}


@click.command()
@click.option("--generator", type=FILE, required=True)
@click.option("--critic", type=FILE, required=True)
@click.option("--classifier", required=True)
@click.option("--data", type=click.Choice(["cifar10", "mnist"]), default="cifar10")
@click.option("--samples", default=2500, show_default=True, help="Of the search.")
@click.option("--count", default=5000, show_default=True, help="Samples that judge.")
@click.option("--out", type=FILE)
def main(generator, critic, classifier, data, samples, count, out):
    """Print a row for each score to go by."""
    load = getattr(kgl.data, data)
    real = {"train": load("train", batch_size=250, shuffle=False)}
    real["test"] = load("test", batch_size=250, shuffle=False)
    search = kgl.metrics.Scorer(classifier, real["test"], samples)
    report = kgl.metrics.Scorer(classifier, real["train"], count)
    names, rows = ("precision", "recall", "frechet_distance", "classifier_score"), []

    def record(name, model, step_sizes):
        scores = report(kgl.metrics.sample_batches(model, count, seed=5)).scores
        rows.append({"monitor": name, "step_sizes": step_sizes, **{k: scores[k] for k in names}})
        click.echo(json.dumps(rows[-1]))

    for name, monitor in MONITORS.items():
        models = [keras.saving.load_model(f, compile=False) for f in (generator, critic)]
        if not rows:
            record("none", models[0], [])
        keras.utils.set_random_seed(0)
        rule = kgl.step_rules.LineSearch(search, 0.5, samples=samples, monitor=monitor)
        tuner = kgl.FineTuner(*models, rule, max_layers=8)
        tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0))
        callbacks = [kgl.callbacks.CriticInnerLoop(1)]
        tuner.fit(real["train"], steps_per_epoch=1, callbacks=callbacks, verbose=0)
        record(name, tuner.sampler(), tuner.stack.step_sizes.tolist())
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
