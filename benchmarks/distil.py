"""Students of a sampler with gradient layers: generators at the price of one, with its gain?

The teacher is the GAN with layers of its critic as it is, by the line search. Each student begins
as the GAN's generator and has the same number of updates:

- regression: the squared error on pairs of latents and the teacher's samples;
- feature matching: the mean of the critic's features over a batch of the teacher's samples;
- adversarial: the GAN's own game, with the teacher's samples as its data;
- real data: the same game with the real data, which needs no teacher.

"stacked again" are layers of the adversarial student's critic on the student, as in the xICFG
algorithm of CFG-GAN.

    python benchmarks/distil.py --generator generator.keras --critic critic.keras --data cifar10 \
        --game wgan_gp --classifier cifar10_resnet56.keras --out docs/results/distil.json
"""

import json
import time

import click
import keras
import numpy as np
import tensorflow as tf
from rivals import FILE, Judge, copy, history

import keras_gradlayer as kgl

BATCH = 64


def regression(student, critic, z, x, updates):
    """The squared error."""
    student.compile(keras.optimizers.Adam(1e-4), "mse")
    pairs = tf.data.Dataset.from_tensor_slices((z, x)).shuffle(len(z), seed=1).repeat()
    student.fit(pairs.batch(BATCH), steps_per_epoch=updates, verbose=0)


def feature_matching(student, critic, z, x, updates):
    """Salimans et al. (2016), section 3.1, with the critic as it is."""
    features = keras.Model(critic.inputs, critic.layers[-2].output)
    optimizer = keras.optimizers.Adam(1e-4, 0.5)

    @tf.function
    def update(z, x):
        with tf.GradientTape() as tape:
            ours = tf.reduce_mean(features(student(z, training=True)), 0)
            loss = tf.reduce_sum(tf.square(ours - tf.reduce_mean(features(x), 0)))
        optimizer.apply(tape.gradient(loss, student.trainable_variables))

    optimizer.build(student.trainable_variables)
    data = tf.data.Dataset.from_tensor_slices((z, x)).shuffle(len(z), seed=1).repeat()
    for z, x in data.batch(2 * BATCH).take(updates):
        update(z, x)


def adversarial(student, critic, data, updates, name):
    """The game goes on, on this data."""
    preset = getattr(kgl.presets, name)()
    gan = preset.gan(student, critic)
    steps = {"steps_per_epoch": updates * preset.critic_steps}
    gan.fit(data.repeat(), callbacks=preset.callbacks, verbose=0, **steps)


@click.command()
@click.option("--generator", type=FILE, required=True)
@click.option("--critic", type=FILE, required=True)
@click.option("--data", type=click.Choice(["cifar10", "mnist"]), required=True)
@click.option("--game", "played", type=click.Choice(["hinge", "wgan_gp"]), required=True)
@click.option("--classifier", type=FILE, required=True)
@click.option("--layers", default=3, show_default=True, help="Of the teacher, at most.")
@click.option("--pairs", default=50_000, show_default=True)
@click.option("--updates", default=1000, show_default=True, help="Of each student.")
@click.option("--count", default=10_000, show_default=True)
@click.option("--out", type=FILE, required=True)
def main(generator, critic, data, played, classifier, layers, pairs, updates, count, out):
    """Train the students and write the JSON file."""
    keras.utils.set_random_seed(1)
    models = [keras.saving.load_model(path, compile=False) for path in (generator, critic)]
    generator, critic = models
    search = Judge(classifier, data, "train[:10000]", 2500)
    report = Judge(classifier, data, "test", count)
    report.seed = 1001
    real = getattr(kgl.data, data)(batch_size=BATCH, seed=1)
    rows = {}

    def record(name, model, start, **facts):
        seconds = round(time.monotonic() - start, 1)
        samples = kgl.metrics.sample_batches(model, count, report.seed)
        rows[name] = {"seconds": seconds, **report(samples), **facts}
        out.write_text(
            json.dumps({"updates": updates, "pairs": pairs, "rows": rows}, indent=1) + "\n"
        )
        print(name, rows[name], flush=True)

    start = time.monotonic()
    record("generator", generator, start)
    teacher = history(generator, critic, real, search, layers, 1, False)
    record("teacher", teacher, start, step_sizes=teacher.step_sizes.tolist())
    z = np.random.default_rng(1).normal(size=(pairs, *generator.input_shape[1:])).astype("float32")
    x = teacher.predict(z, verbose=0)
    taught = tf.data.Dataset.from_tensor_slices(x).shuffle(pairs, seed=1)
    taught = taught.batch(BATCH, drop_remainder=True)

    for name, train in {"regression": regression, "feature matching": feature_matching}.items():
        start, student = time.monotonic(), copy(generator)
        train(student, critic, z, x, updates)
        record(name, student, start)
    for name, samples in {"real data": real, "adversarial": taught}.items():
        start, student, opponent = time.monotonic(), copy(generator), copy(critic)
        adversarial(student, opponent, samples, updates, played)
        record(name, student, start)
    start = time.monotonic()
    again = history(student, opponent, real, search, layers, 1, False)
    record("stacked again", again, start, step_sizes=again.step_sizes.tolist())


if __name__ == "__main__":
    main()
