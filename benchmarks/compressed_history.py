"""A history in fewer bits: its bytes, its samples and its latency against those of float32.

    python benchmarks/compressed_history.py --generator gan/cifar10_generator.keras \
        --critic gan/cifar10_critic.keras --classifier eval/cifar10_resnet56.keras \
        --out docs/results/compressed_history.json

Six layers of η = ½ are stacked in the middle of the generator (or `--insert top`), the critic
trained for `--updates` updates before each. Then the sampler is compressed, and for each precision
come the bytes of the SavedModel's variables and of the `.keras` file, the root mean square of what
the samples differ by, in [-1, 1], their scores, and the latency of the SavedModel's signature, with
the median of its ratio to float32 over calls made in turn. The row "one rounding" is the float32
history with each weight moved by 2^-23 of itself: what such samples differ by in any case.
"""

import functools
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


def history(generator, critic, layers, updates, insert):
    """A sampler of layers there, with training before each."""
    tuner = kgl.FineTuner(generator, critic, 0.5, insert=insert, max_layers=layers)
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, 0.5, 0.9))
    data = kgl.data.cifar10(batch_size=64, seed=0).repeat()
    callbacks = [kgl.callbacks.CriticInnerLoop(updates), kgl.callbacks.GradientPenalty(10.0)]
    tuner.fit(data, epochs=layers, steps_per_epoch=updates, callbacks=callbacks, verbose=2)
    return tuner.sampler()


def rounded_once(sampler):
    """The same with each stacked weight moved by its last bit, or so."""
    moved = sampler.copy()
    moved.stack.truncate(0)
    for k, step_size in enumerate(sampler.step_sizes):
        moved.stack.potential.set_weights([w * (1 + 2**-23) for w in sampler.stack.values(k)])
        moved.stack.append(step_size=step_size)
    return moved


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
@click.option("--insert", default="auto", show_default=True)
@click.option("--updates", default=100, show_default=True, help="Of the critic, before each layer.")
@click.option("--count", default=2000, show_default=True, help="Samples to score.")
@click.option("--rounds", default=30, show_default=True, help="Calls of each, made in turn.")
@click.option("--out", type=FILE)
def main(generator, critic, classifier, layers, insert, updates, count, rounds, out):
    """Print a row for each precision."""
    use_all_cores()
    keras.utils.set_random_seed(0)
    models = [keras.saving.load_model(f, compile=False) for f in (generator, critic)]
    whole = history(*models, layers, updates, insert)
    samplers = {"float32": whole} | {p: whole.compress(p) for p in PRECISIONS}
    scorer = kgl.metrics.Scorer(classifier, kgl.data.cifar10("test", batch_size=250, shuffle=False))
    z = whole.latent.sample(count, seed=1)
    folder, rows, calls = pathlib.Path(tempfile.mkdtemp()), {}, {}
    for name, sampler in samplers.items():
        calls[name] = exported(sampler, folder / name)
        sampler.save(folder / f"{name}.keras")
        samples = sampler.predict(z, verbose=0)
        if name == "float32":
            expected = samples
        scores = scorer(samples).scores
        weights = folder / name / "1" / "variables"
        rows[name] = {
            "variables_bytes": size(weights),
            "keras_bytes": size(folder / f"{name}.keras"),
            "rms_difference": float(np.sqrt(np.mean((samples - expected) ** 2))),
            "largest_difference": float(np.abs(samples - expected).max()),
            **{k: scores[k] for k in ("classifier_score", "frechet_distance")},
        }
    moved = rounded_once(whole).predict(z, verbose=0) - expected
    rows["one rounding"] = {"rms_difference": float(np.sqrt(np.mean(moved**2)))}
    for n in (1, 64):
        batch = whole.latent.sample(n, seed=2)
        times = interleaved([functools.partial(f, latent=batch) for f in calls.values()], rounds)
        base = np.array(times[0])[:, 0]
        for name, taken in zip(calls, times):
            taken = np.array(taken)[:, 0]
            rows[name][f"latency_ratio_{n}"] = round(float(np.median(taken / base)), 3)
            rows[name][f"milliseconds_{n}"] = round(1e3 * float(np.median(taken)), 2)
    found = {"insert": insert, "layers": layers, "updates": updates, "samples": count, "rows": rows}
    click.echo(json.dumps(found, indent=1))
    if out:
        known = json.loads(out.read_text()) if out.exists() else []
        out.write_text(json.dumps([*known, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
