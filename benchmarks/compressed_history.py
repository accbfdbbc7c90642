"""A history in fewer bits: its bytes, its samples and its latency against those of float32.

    python benchmarks/compressed_history.py --generator gan/cifar10_generator.keras \
        --critic gan/cifar10_critic.keras --classifier eval/cifar10_resnet56.keras \
        --out docs/results/compressed_history.json

Six layers of η = ½ are stacked in the middle of the generator, the critic trained for `--updates`
updates before each. Then the sampler is compressed, and for each precision come the bytes of the
critics in the SavedModel and of the `.keras` file, the root mean square of what the samples differ
by, their scores, and the median ratio of latencies, compressed to float32, of calls made in turn.
"exported" are the SavedModel's own signatures, without XLA.
"""

import json
import pathlib
import tempfile

import click
import keras
import numpy as np
import tensorflow as tf
from timing import interleaved, use_all_cores

import keras_gradlayer as kgl

FILE = click.Path(path_type=pathlib.Path)
PRECISIONS = ("bfloat16", "int8", "int4")


def history(generator, critic, layers, updates):
    """A sampler of layers in the middle, with training before each."""
    tuner = kgl.FineTuner(generator, critic, 0.5, max_layers=layers)
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, 0.5, 0.9))
    data = kgl.data.cifar10(batch_size=64, seed=0).repeat()
    callbacks = [kgl.callbacks.CriticInnerLoop(updates), kgl.callbacks.GradientPenalty(10.0)]
    tuner.fit(data, epochs=layers, steps_per_epoch=updates, callbacks=callbacks, verbose=2)
    return tuner.sampler()


def size(path):
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def exported(sampler, folder):
    """The serving signature of an exported sampler."""
    kgl.serving.export_sampler(sampler, folder)
    return tf.saved_model.load(str(folder / "1")).signatures["serving_default"]


@click.command()
@click.option("--generator", type=FILE, required=True)
@click.option("--critic", type=FILE, required=True)
@click.option("--classifier", type=FILE, required=True)
@click.option("--layers", default=6, show_default=True)
@click.option("--updates", default=100, show_default=True, help="Of the critic, before each layer.")
@click.option("--count", default=2000, show_default=True, help="Samples to score.")
@click.option("--rounds", default=30, show_default=True, help="Calls of each, made in turn.")
@click.option("--out", type=FILE)
def main(generator, critic, classifier, layers, updates, count, rounds, out):
    """Print a row for each precision."""
    use_all_cores()
    keras.utils.set_random_seed(0)
    models = [keras.saving.load_model(f, compile=False) for f in (generator, critic)]
    whole = history(*models, layers, updates)
    samplers = {"float32": whole} | {p: whole.compress(p) for p in PRECISIONS}
    scorer = kgl.metrics.Scorer(classifier, kgl.data.cifar10("test", batch_size=250, shuffle=False))
    z = whole.latent.sample(count, seed=1)
    folder, rows, calls = pathlib.Path(tempfile.mkdtemp()), {}, {}
    for name, sampler in samplers.items():
        calls[name] = exported(sampler, folder / name)
        sampler.save(folder / f"{name}.keras")
        samples = sampler.predict(z, verbose=0)
        if name == "float32":
            expected, eager = samples, calls[name](latent=z[:500])["samples"].numpy()
        scores = scorer(samples).scores
        weights = folder / name / "1" / "variables"
        rows[name] = {
            "variables_bytes": size(weights),
            "keras_bytes": size(folder / f"{name}.keras"),
            "rms_difference": float(np.sqrt(np.mean((samples - expected) ** 2))),
            "largest_difference": float(np.abs(samples - expected).max()),
            **{k: scores[k] for k in ("classifier_score", "frechet_distance")},
        }
    # What another program of the same float32 layers differs by.
    rows["float32"]["rms_difference_without_xla"] = float(
        np.sqrt(np.mean((eager - expected[:500]) ** 2))
    )
    for n in (1, 64):
        batch = whole.latent.sample(n, seed=2)
        times = interleaved([lambda f=f: f(latent=batch) for f in calls.values()], rounds)
        base = np.array(times[0])[:, 0]
        for name, taken in zip(calls, times):
            taken = np.array(taken)[:, 0]
            rows[name][f"latency_ratio_{n}"] = round(float(np.median(taken / base)), 3)
            rows[name][f"milliseconds_{n}"] = round(1e3 * float(np.median(taken)), 2)
    found = {"layers": layers, "updates": updates, "samples": count, "rows": rows}
    click.echo(json.dumps(found, indent=1))
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
