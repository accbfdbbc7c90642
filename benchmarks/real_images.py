"""Fine-tuning a GAN of images, and what else its user could have done in that time.

Each row is a way to go on from one generator and critic, scored by depth. A row that stands in the
JSON file already is left as it is, so that a study can be stopped and gone on with.

    python benchmarks/real_images.py --generator generator.keras --critic critic.keras \
        --classifier classifier.keras --out docs/results/cifar10.json --row middle --seeds 3
"""

import json
import pathlib
import time

import click
import keras

import keras_gradlayer as kgl

PAPER = {"step_size": 0.5, "critic_steps": None, "learning_rate": 5e-5, "epochs": 6}
# After a layer of the generator, by the line search: held-out samples against held-out images say
# whether a layer is stacked, and the critic trains where it has no more to give.
MIDDLE = {
    "insert": "conv2d_transpose_1",
    "step_size": 1.0,
    "steps_per_layer": 2,
    "critic_steps": 390,
    "learning_rate": 1e-4,
    "epochs": 5,
    "line_search": True,
    "particles": 390 * 64,
}
FIXED = {"critic_steps": 1, "learning_rate": 0.0}  # the WGAN-GP's last critic, never trained on
SHORT = {"epochs": 3}
ROWS = {
    "paper": PAPER,  # Algorithm 1 as printed, with the paper's settings for images
    "middle": MIDDLE,
    "top": {**MIDDLE, "insert": "top", "step_size": 2.0, "steps_per_layer": 4},
    "fixed critic, middle": {**MIDDLE, **FIXED, "epochs": 2},
    "fixed critic, top": {**PAPER, **FIXED, "epochs": 12},
    # ablations
    "step 3": {**PAPER, "step_size": 3.0, "epochs": 4},
    "step 3 as 6 of 0.5": {**PAPER, "step_size": 3.0, "steps_per_layer": 6, "epochs": 4},
    "one-sided": {**PAPER, **SHORT, "one_sided": True},
    "exact": {**PAPER, **SHORT, "particles": None},
    "bottom": {**PAPER, **SHORT, "insert": "bottom", "step_size": 0.05},
    "T0 = 100": {**PAPER, "critic_steps": 100},
    "T0 = 100, 20 layers": {**PAPER, "critic_steps": 100, "epochs": 20},
    "middle, no search": {**MIDDLE, "line_search": False, "step_size": 0.5},
    "middle, one step a layer": {**MIDDLE, "steps_per_layer": 1},
    "middle, T0 = 100": {**MIDDLE, "steps_per_layer": 1, "critic_steps": 100, "epochs": 12},
}


class Timed:
    """A scorer that knows how long it took."""

    def __init__(self, scorer):
        self.scorer, self.count, self.seconds = scorer, scorer.count, 0.0

    def __call__(self, samples):
        start = time.monotonic()
        report = self.scorer(samples)
        self.seconds += time.monotonic() - start
        return report.scores


def fine_tune(
    generator,
    critic,
    data,
    scorer,
    judge,
    step_size,
    critic_steps,
    learning_rate,
    epochs,
    insert="top",
    steps_per_layer=1,
    line_search=False,
    particles="auto",
    one_sided=False,
):
    """Scores by depth of one run."""
    rule = kgl.step_rules.LineSearch(judge, step_size) if line_search else step_size
    tuner = kgl.FineTuner(
        generator,
        critic,
        rule,
        insert=insert,
        steps_per_layer=steps_per_layer,
        max_layers=30 if line_search else epochs,
        particles=particles,
    )
    rate = learning_rate
    tuner.compile(
        critic_optimizer=keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9)
        if rate
        else keras.optimizers.SGD(0.0)  # the critic stands still
    )
    timed = Timed(scorer)
    every = 2 if epochs > 8 else 1  # scoring takes longer than all else
    scores = kgl.callbacks.Scores(timed, every, seed=100, monitor="frechet_distance")
    callbacks = [scores]
    if rate:
        callbacks.append(kgl.callbacks.GradientPenalty(10.0, one_sided))
    if critic_steps:
        callbacks.append(kgl.callbacks.CriticInnerLoop(critic_steps))
        data = data.repeat()
    start = time.monotonic()
    tuner.fit(data, epochs=epochs, steps_per_epoch=critic_steps, callbacks=callbacks, verbose=2)
    return {
        "by_depth": scores.history,
        "best": scores.best,
        "step_sizes": tuner.stack.step_sizes.tolist(),
        "seconds": time.monotonic() - start - timed.seconds,
    }


def train_on(generator, critic, data, scorer, seconds, save=None, epoch=20):
    """Scores of the WGAN-GP trained on for so many seconds; several are looks at one run."""
    preset = kgl.presets.wgan_gp()
    gan = kgl.GAN(generator, critic, preset.objective)
    gan.compile(
        generator_optimizer=preset.generator_optimizer, critic_optimizer=preset.critic_optimizer
    )
    iterations, elapsed, looks = 0, 0.0, []
    for until in seconds:
        start = time.monotonic() - elapsed
        while time.monotonic() - start < until:
            gan.fit(
                data.repeat(),
                epochs=1,
                steps_per_epoch=5 * epoch,
                callbacks=preset.callbacks,
                verbose=0,
            )
            iterations += epoch
        elapsed = time.monotonic() - start
        scores = scorer(kgl.metrics.sample_batches(gan, scorer.count, 100)).scores
        looks.append({"seconds": elapsed, "iterations": iterations, **scores})
    if save is not None:
        gan.generator.save(save / "generator.keras")
        gan.critic.save(save / "critic.keras")
    return {"seconds": elapsed, "by_time": looks, "best": looks[-1]}


@click.command()
@click.option("--generator", required=True)
@click.option("--critic", required=True)
@click.option("--classifier", required=True)
@click.option("--data", default="cifar10", show_default=True)
@click.option("--real", default="train[:10000]", show_default=True, help="To score against.")
@click.option("--held-out", default="test", show_default=True, help="For the rule.")
@click.option("--count", default=10_000, show_default=True)
@click.option("--insert", help="Where the middle is; the layer before the last normalisation.")
@click.option("--row", "rows", multiple=True, help="Which; all by default. Or wgan-gp=SECONDS,…")
@click.option(
    "--save", type=click.Path(path_type=pathlib.Path), help="For wgan-gp: has a folder a seed."
)
@click.option("--seeds", default=1, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path))
def main(
    generator, critic, classifier, data, real, held_out, count, insert, rows, save, seeds, out
):
    """Run rows of the study and add them to the JSON file."""
    load = getattr(kgl.data, data)

    def scorer(split, count):
        images = load(split, batch_size=250, shuffle=False)
        return kgl.metrics.Scorer(classifier, images, count)

    reporting, judge = scorer(real, count), scorer(held_out, count)
    shape = tuple(keras.saving.load_model(generator).output_shape[1:])
    conditions = {
        "samples": count,
        "real": f"{data} {real}",
        "held_out": f"{data} {held_out}",
        "classifier": reporting.classifier.name,
        "resizing": reporting.classifier.resizing(shape),
    }
    if out.exists() and (before := json.loads(out.read_text())["conditions"]) != conditions:
        raise click.UsageError(f"{out} is for {before}. Received: {conditions}")
    for row in rows or ROWS:
        for seed in range(1, seeds + 1):
            name = row if seed == 1 else f"{row}, seed {seed}"
            record = json.loads(out.read_text()) if out.exists() else {"rows": {}}
            if name in record["rows"]:
                continue
            keras.utils.set_random_seed(seed)
            models = [keras.saving.load_model(p) for p in (generator, critic)]
            samples = load("train", batch_size=64, seed=seed)
            if row.startswith("wgan-gp="):
                seconds = [float(s) for s in row.partition("=")[2].split(",")]
                folder = save / f"seed-{seed}" if save else None
                if folder:
                    folder.mkdir(parents=True)  # before hours of training
                found = train_on(*models, samples, reporting, seconds, folder)
            else:
                settings = dict(ROWS[row])
                if insert and settings.get("insert") == MIDDLE["insert"]:
                    settings["insert"] = insert
                found = fine_tune(*models, samples, reporting, judge, **settings)
                found["settings"] = settings
            record = json.loads(out.read_text()) if out.exists() else {"rows": {}}
            record["conditions"] = conditions
            record["rows"][name] = found
            out.write_text(json.dumps(record, indent=1) + "\n")
            best = found["best"]
            click.echo(
                f"{name}: best at {best.get('layers', '-')} layers, classifier score "
                f"{best['classifier_score']:.3f}, Fréchet distance {best['frechet_distance']:.2f}, "
                f"{found['seconds']:.0f} s"
            )


if __name__ == "__main__":
    main()
