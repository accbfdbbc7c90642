"""The history of critics beside its rivals: the same GAN, the same number of critic gradients.

Each method has the step, or the place, that gives the least Fréchet distance of 2,500 samples to
training images, and is then judged by 10,000 others against the test images. `history` trains the
critic between its layers; all others leave it as it was handed over.

Those "in equal minutes" have as long as the averaged critic and its line search took: twice the
critic gradients, and again, each time with a search of the step, or the GAN trained on.

    python benchmarks/rivals.py --name dcgan --generator g.keras --critic c.keras --data mnist \
        --game dcgan --classifier mnist_cnn.keras --out docs/results/rivals.json
"""

import json
import pathlib
import time

import click
import keras
import numpy as np

import keras_gradlayer as kgl

FILE = click.Path(path_type=pathlib.Path)


def flows(generator, critic, budget):
    """Samplers of `budget` critic gradients a sample, by name, from a step size."""
    models = generator, critic
    return {
        "fixed critic": lambda eta: kgl.refine(*models, eta, budget),
        "fixed critic, latent": lambda eta: kgl.refine(*models, eta, budget, "bottom"),
        "DGflow, KL": lambda eta: kgl.refine(*models, eta, budget, "top", "kl", temperature=0.01),
        "DGflow, JS": lambda eta: kgl.refine(
            *models, eta, budget, "top", "minimax", temperature=0.01
        ),
        "DGflow, log D": lambda eta: kgl.refine(
            *models, eta, budget, "top", "non_saturating", temperature=0.01
        ),
        "DDLS": lambda eta: kgl.rivals.ddls(*models, eta, budget, temperature=0.01),
        "optimal transport, latent": lambda eta: kgl.rivals.dot(*models, eta, budget),
        "optimal transport, samples": lambda eta: kgl.rivals.dot(*models, eta, budget, "top"),
    }


class Judge:
    """Scores against real images of a generator that ends with tanh."""

    def __init__(self, classifier, data, split, count):
        real = getattr(kgl.data, data)(split=split, batch_size=250, shuffle=False)
        self.scorer = kgl.metrics.Scorer(classifier, real, count)

    def __call__(self, samples):
        if isinstance(samples, kgl.Sampler):
            count = self.scorer.count
            samples = kgl.metrics.sample_batches(samples, count, self.seed)
        names = "classifier_score", "frechet_distance", "precision", "recall"
        scores = self.scorer(samples).scores
        return {name: float(scores[name]) for name in names if name in scores}

    seed = 1


def best_step(make, judge):
    """The step, of the powers of 4 from 4⁻⁸ to 4⁶, that gives the least Fréchet distance.

    Every second one is tried, and then the neighbours of the best: a chain that has run away can
    hide the minimum from a search that goes downhill.
    """
    found = {}

    def loss(k):
        if k not in found:
            distance = judge(make(4.0**k))["frechet_distance"]
            found[k] = distance if np.isfinite(distance) else np.inf
        return found[k]

    k = min(range(-8, 7, 2), key=loss)
    return 4.0 ** min((k - 1, k, k + 1), key=loss)


def average(generator, critic, data, name):
    """The critic averaged over its game, and the seconds that took."""
    start, preset = time.monotonic(), getattr(kgl.presets, name)()
    critic = preset.average_critic(generator, critic, data, iterations=GAME, verbose=0)
    return critic, time.monotonic() - start


def in_minutes(models, method, judge, budget, seconds):
    """The step, and the number of critic gradients, that a method finds best in so long."""
    start, best = time.monotonic(), (np.inf, None, None)
    while time.monotonic() - start < seconds:
        make = flows(*models, budget)[method]
        step_size = best_step(make, judge)
        best = min(best, (judge(make(step_size))["frechet_distance"], step_size, budget))
        budget *= 2
    return best[1:]


def copy(model):
    """The model, on its own, without a final sigmoid."""
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    if getattr(twin.layers[-1], "activation", None) is keras.activations.sigmoid:
        twin.layers[-1].activation = keras.activations.linear
    return twin


def trained_on(generator, critic, data, name, seconds):
    """The generator after so many seconds more of its game."""
    generator, critic = copy(generator), copy(critic)
    preset = getattr(kgl.presets, name)()
    gan, start = preset.gan(generator, critic), time.monotonic()
    while time.monotonic() - start < seconds:
        steps = 20 * preset.critic_steps
        gan.fit(data.repeat(), steps_per_epoch=steps, callbacks=preset.callbacks, verbose=0)
    return generator


def history(generator, critic, data, judge, budget, seed, train, insert=None):
    """Layers by the line search, of a critic that trains between them or stands still.

    They go where `kgl.best_insert` finds them best, unless that is given, and for a critic with a
    final sigmoid along the better of two gradients: what `keras-gradlayer finetune` does.
    """
    keras.utils.set_random_seed(seed)

    def distance(x):
        return {"fd": judge(x)["frechet_distance"]}

    objective, found = "auto", {}
    if insert is None:
        sigmoid = kgl.FineTuner(generator, critic).objective.name == "minimax"
        for objective in ("minimax", "non_saturating") if sigmoid else ("auto",):
            place, losses = kgl.best_insert(
                generator, critic, distance, seed=seed, objective=objective
            )
            found[losses[place]] = place, objective
        insert, objective = found[min(found)]
    rule = kgl.step_rules.LineSearch(distance, seed=seed)
    settings = {"max_layers": budget, "insert": insert, "objective": objective}
    tuner = kgl.FineTuner(generator, critic, rule, **settings)
    rate = keras.optimizers.Adam(5e-5, 0.5, 0.9) if train else keras.optimizers.SGD(0.0)
    tuner.compile(critic_optimizer=rate)
    callbacks = [kgl.callbacks.CriticInnerLoop(390)]
    callbacks += [kgl.callbacks.GradientPenalty(10.0)] if train else []
    steps, epochs = (390, 5) if train else (1, 1)
    if not train:
        callbacks[0] = kgl.callbacks.CriticInnerLoop(1)
    fit = {"epochs": epochs, "steps_per_epoch": steps, "verbose": 0}
    tuner.fit(data.repeat(), callbacks=callbacks, **fit)
    return tuner.sampler()


def behind(sampler, generator):
    """The generator behind latents that a sampler's layers have moved, as one model."""
    z = keras.Input(generator.input_shape[1:])
    x = sampler.stack(z)
    for layer in generator.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            x = layer(x)
    return keras.Model(z, x)


EQUAL_MINUTES = "fixed critic", "fixed critic, latent", "DDLS", "optimal transport, latent"
TRAINED_ON = "trained on"
LAYERS = {  # method: whether the critic is averaged before, and trains between its layers
    "fixed critic, line search": (False, False),
    "history": (False, True),
    "optimal transport, then history": (False, True),
    "averaged critic, line search": (True, False),
    "averaged critic, then history": (True, True),
}
GAME = 500  # generator updates to average the critic over
LONGEST = "averaged critic, line search"


@click.command()
@click.option("--name", required=True)
@click.option("--generator", type=FILE, required=True)
@click.option("--critic", type=FILE, required=True)
@click.option("--data", type=click.Choice(["cifar10", "mnist"]), required=True)
@click.option("--classifier", type=FILE, required=True)
@click.option("--game", "played", type=click.Choice(["dcgan", "hinge", "wgan_gp"]), required=True)
@click.option("--method", "methods", multiple=True, help="Which; all by default.")
@click.option("--budget", default=6, show_default=True, help="Critic gradients a sample.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--count", default=10_000, show_default=True)
@click.option("--out", type=FILE, required=True)
def main(name, generator, critic, data, classifier, played, methods, budget, seeds, count, out):
    """Add a GAN's rows to the JSON file; what stands there is left as it is."""
    generator = keras.saving.load_model(generator, compile=False)
    critic = keras.saving.load_model(critic, compile=False)
    search = Judge(classifier, data, "train[:10000]", 2500)
    report = Judge(classifier, data, "test", count)
    made = flows(generator, critic, budget)
    settings = dict.fromkeys(["base", *made, "rejection", "Metropolis-Hastings"])
    settings |= dict.fromkeys(LAYERS)
    equal = {f"{method}, in equal minutes": method for method in EQUAL_MINUTES}
    settings |= dict.fromkeys([*equal, TRAINED_ON])
    known = json.loads(out.read_text()).get(name, {}) if out.exists() else {}
    settings |= {
        method: (rows[0].get("step_size"), rows[0].get("gradients", budget))
        for method, rows in known.items()
        if "step_size" in rows[0]
    }

    def record(method, seed, seconds, scores, **facts):
        results = json.loads(out.read_text()) if out.exists() else {}
        row = {"seed": seed, "seconds": round(seconds, 1), **scores, **facts}
        results.setdefault(name, {}).setdefault(method, []).append(row)
        out.write_text(json.dumps(results, indent=1) + "\n")
        print(name, method, row, flush=True)

    def took(method, seed):
        """The seconds of a row, `None` where it is still to be made."""
        results = json.loads(out.read_text()) if out.exists() else {}
        rows = results.get(name, {}).get(method, [])
        return next((row["seconds"] for row in rows if row["seed"] == seed), None)

    for seed in range(1, seeds + 1):
        report.seed = 1000 + seed
        averaged = None
        late = {*equal, TRAINED_ON} & {*(methods or settings)}
        if methods and late and LONGEST not in methods and took(LONGEST, seed) is None:
            raise click.UsageError(f"{sorted(late)} need the row {LONGEST!r} before them.")
        for method in methods or settings:
            if took(method, seed) is not None:
                continue
            start = time.monotonic()
            facts = {}
            if method == "base":
                samples = kgl.metrics.sample_batches(generator, count, report.seed)
            elif method in made:
                if settings[method] is None:
                    settings[method] = best_step(made[method], search), budget
                facts["step_size"] = settings[method][0]
                samples = made[method](facts["step_size"])
            elif method in equal:
                if settings[method] is None:
                    given = (generator, critic), equal[method], search, budget
                    settings[method] = in_minutes(*given, took(LONGEST, seed))
                step_size, gradients = settings[method]
                facts |= {"step_size": step_size, "gradients": gradients}
                samples = flows(generator, critic, gradients)[equal[method]](step_size)
            elif method == TRAINED_ON:
                training = getattr(kgl.data, data)(batch_size=64, seed=seed)
                given = generator, critic, training, played
                model = trained_on(*given, took(LONGEST, seed))
                samples = kgl.metrics.sample_batches(model, count, report.seed)
            elif method in LAYERS:
                training = getattr(kgl.data, data)(batch_size=64, seed=seed)
                averages, train = LAYERS[method]
                given = training, search, budget, seed, train
                if method == "optimal transport, then history":  # half the budget each
                    step_size = 2 * settings["optimal transport, latent"][0]
                    moved = kgl.rivals.dot(generator, critic, step_size, budget // 2)
                    given = training, search, budget // 2, seed, True, "auto"
                    samples = history(behind(moved, generator), critic, *given)
                elif averages:
                    if averaged is None:
                        keras.utils.set_random_seed(seed)
                        averaged, game = average(generator, critic, training, played)
                        start = time.monotonic()
                    samples = history(generator, averaged, *given)
                    start, facts["game"] = start - game, round(game, 1)
                else:
                    samples = history(generator, critic, *given)
                facts["step_sizes"] = samples.step_sizes.tolist()
            else:
                images = getattr(kgl.data, data)(split="train[10000:15000]", batch_size=5000)
                [real] = images.take(1).as_numpy_iterator()
                if method == "rejection":
                    select = kgl.rivals.rejection_sampling
                    samples = select(generator, critic, count, real, seed=report.seed)
                else:  # as many candidates a sample as rejection takes, or so
                    select = kgl.rivals.metropolis_hastings
                    samples = select(generator, critic, count, real, 20, seed=report.seed)
            seconds = time.monotonic() - start
            record(method, seed, seconds, report(samples), **facts)


if __name__ == "__main__":
    main()
