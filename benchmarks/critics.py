"""Critics worth stacking? What the line search accepts of critics that train in other ways.

Each row goes on from the same GAN: layers by the line search, then 390 updates of the critic, in
turn, for some rounds. The first row's critic stands still: what a row is ahead of it is what
training gave.

    python benchmarks/critics.py --generator generator.keras --critic critic.keras --data cifar10 \
        --game wgan_gp --classifier cifar10_resnet56.keras --out docs/results/critics.json
"""

import json
import pathlib
import time

import click
import keras
import tensorflow as tf
from rivals import FILE, Judge, average, behind, copy

import keras_gradlayer as kgl

UPDATES = 390
ROOM = 12


def adam(rate=1e-4, **kwargs):
    return keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9, **kwargs)


def augmented(critic):
    """Random flips and shifts of real and generated samples, in training alone."""
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant", fill_value=-1.0),
    ]
    return keras.Sequential([keras.Input(critic.input_shape[1:]), *layers, critic])


def pair(critic):
    """The mean of two critics that start 5% apart, weight by weight."""
    other = keras.models.clone_model(critic)
    other.name = "other"
    weights = critic.get_weights()
    other.set_weights([w * keras.random.normal(w.shape, 1.0, 0.05, seed=0) for w in weights])
    x = keras.Input(critic.input_shape[1:])
    return keras.Model(x, keras.layers.Average()([critic(x), other(x)]))


class AllDepths(kgl.FineTuner):
    """The critic is shown samples of every depth, each batch of one."""

    def generate(self, n, condition=None):
        """`n` samples after a random number of layers."""
        z = self.latent.sample(n, self.seed_generator)
        most = tf.cast(self.stack.layer_count, "int32")
        layers = tf.random.uniform((), 0, most + 1, "int32")
        return self.flow(z, layers=layers, condition=condition)


class GoesOn(keras.callbacks.Callback):
    """The critic's own game goes on with the generator, in a copy; layers follow that critic."""

    def __init__(self, generator, critic, data, name, iterations):
        super().__init__()
        self.preset = getattr(kgl.presets, name)()
        self.gan = self.preset.gan(copy(generator), copy(critic))
        self.data, self.steps = data.repeat(), iterations * self.preset.critic_steps

    def on_epoch_end(self, epoch, logs=None):
        """Play some iterations; the next epoch stacks."""
        if epoch + 1 == self.params["epochs"]:
            return
        callbacks = self.preset.callbacks
        self.gan.fit(self.data, steps_per_epoch=self.steps, callbacks=callbacks, verbose=0)
        self.model.critic.set_weights(self.gan.critic.get_weights())


STILL = {"optimizer": lambda: keras.optimizers.SGD(0.0), "penalty": lambda: [], "updates": 1}
ROWS = {  # what differs from the second
    "stands still": {**STILL, "rounds": 1},
    "trains on": {},
    "100 updates a round": {"updates": 100},
    "instance noise, σ = 0.2": {"more": lambda: [kgl.callbacks.InstanceNoise(0.2)]},
    "averaged weights": {"optimizer": lambda: adam(use_ema=True, ema_momentum=0.99)},
    "augmented": {"critic": augmented},
    "two critics": {"critic": pair},
    "logistic, R1, KL flow": {
        "tuner": {"objective": "kl"},
        "penalty": lambda: [kgl.callbacks.R1Penalty(10.0)],
    },
    "every latent once": {"tuner": {"particles": None}},
    "samples of all depths": {"class": AllDepths, "tuner": {"particles": None}},
    "the game goes on": {**STILL, "game": 100},
    "averaged over its game": {**STILL, "rounds": 1, "average": True},
    "averaged over its game, trains on": {"average": True},
}
PLACES = "latent, then middle"


def run(generator, critic, data, judge, rounds, row, played=None, **settings):
    """A sampler by the settings of a row of `ROWS`, and those that all rows share."""
    updates = row.get("updates", UPDATES)
    rule = kgl.step_rules.LineSearch(lambda x: {"fd": judge(x)["frechet_distance"]}, seed=1)
    critic = row.get("critic", lambda critic: critic)(critic)
    if "average" in row:
        critic, _ = average(generator, critic, data, played)
    settings |= {"max_layers": ROOM, **row.get("tuner", {})}
    tuner = row.get("class", kgl.FineTuner)(generator, critic, rule, **settings)
    tuner.compile(critic_optimizer=row.get("optimizer", adam)())
    callbacks = row.get("penalty", lambda: [kgl.callbacks.GradientPenalty(10.0)])()
    callbacks += [kgl.callbacks.CriticInnerLoop(updates), *row.get("more", lambda: [])()]
    if "game" in row:
        callbacks.append(GoesOn(generator, critic, data, played, row["game"]))
        rounds += 1  # the first critic is that which was handed over
    rounds = row.get("rounds", rounds)
    tuner.fit(data.repeat(), epochs=rounds, steps_per_epoch=updates, callbacks=callbacks, verbose=0)
    return tuner.sampler()


@click.command()
@click.option("--generator", type=FILE, required=True)
@click.option("--critic", type=FILE, required=True)
@click.option("--data", type=click.Choice(["cifar10", "mnist"]), required=True)
@click.option("--game", "played", type=click.Choice(["dcgan", "hinge", "wgan_gp"]), required=True)
@click.option("--classifier", type=FILE, required=True)
@click.option("--row", "rows", multiple=True, type=click.Choice([*ROWS, PLACES]))
@click.option("--insert", default="auto", show_default=True)
@click.option("--objective", default="auto", show_default=True)
@click.option("--rounds", default=4, show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--count", default=10_000, show_default=True)
@click.option("--out", type=FILE, required=True)
def main(
    generator, critic, data, played, classifier, rows, insert, objective, rounds, seeds, count, out
):
    """Add rows to the JSON file; what stands there is left as it is."""
    generator, critic = (
        keras.saving.load_model(path, compile=False) for path in (generator, critic)
    )
    search = Judge(classifier, data, "train[:10000]", 2500)
    report = Judge(classifier, data, "test", count)
    out = pathlib.Path(out)
    results = json.loads(out.read_text()) if out.exists() else {}
    for seed in range(1, seeds + 1):
        report.seed = 1000 + seed
        if not any(r["seed"] == seed for r in results.setdefault("as handed over", [])):
            samples = kgl.metrics.sample_batches(generator, count, report.seed)
            results["as handed over"].append({"seed": seed, **report(samples)})
        for name in rows or [*ROWS, PLACES]:
            if any(r["seed"] == seed for r in results.get(name, [])):
                continue
            keras.utils.set_random_seed(seed)
            start = time.monotonic()
            batches = getattr(kgl.data, data)(batch_size=64, seed=seed)
            if name == PLACES:
                game = {"objective": objective}
                given = critic, batches, search
                samplers = [run(generator, *given, 1, {}, insert="bottom", **game)]
                base = behind(samplers[0], generator)
                samplers.append(run(base, *given, rounds, {}, insert="auto", **game))
            else:
                given = critic, batches, search, rounds, ROWS[name]
                samplers = [run(generator, *given, played, insert=insert, objective=objective)]
            steps = [s.step_sizes.tolist() for s in samplers]
            row = {"seed": seed, "seconds": round(time.monotonic() - start, 1)}
            row |= {"step_sizes": steps, **report(samplers[-1])}
            results.setdefault(name, []).append(row)
            out.write_text(json.dumps(results, indent=1) + "\n")
            print(name, row, flush=True)


if __name__ == "__main__":
    main()
