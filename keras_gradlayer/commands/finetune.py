"""`keras-gradlayer finetune`: gradient layers on a GAN of one's own."""

import functools
import itertools

import click
import keras
from tqdm.keras import TqdmCallback

import keras_gradlayer as kgl
from keras_gradlayer import pictures
from keras_gradlayer._conditions import draw, unpair
from keras_gradlayer.commands import arrays, options, report, sources
from keras_gradlayer.commands.arrays import is_array
from keras_gradlayer.commands.options import COUNT, POSITIVE, flag, grouped, option
from keras_gradlayer.commands.runs import open_run
from keras_gradlayer.commands.sources import IMAGES, TOYS, load_model


@grouped(
    "finetune",
    inputs=[
        option(
            "--data",
            f"{', '.join([*IMAGES, *TOYS])}, a folder of images, or a .npy or .npz file.",
            required=True,
        ),
        option(
            "--generator", "The generator's .keras file; by default the identity on the latent."
        ),
        option("--critic", "The critic's .keras file.", required=True),
        option("--critic-output", "Of a critic with several outputs, the one that scores."),
        option(
            "--labels",
            "For a conditional GAN, a .npy file of classes or other conditions, one for each "
            "sample of --data's file; by default the data set's labels, the folder's folders, or "
            "'condition' of --data's .npz file.",
        ),
    ],
    flow=[
        option("--layers", "Number of epochs, and of layers at most (T).", 10, type=COUNT),
        option(
            "--step-size",
            "Step size of a layer (η), or auto: the steps that improve the score on --data, by the "
            "classifier or for a file of samples the sliced Wasserstein distance; without either "
            "the longest that the critic agrees with.",
            "auto",
        ),
        option("--steps-per-layer", "Steps of η/m with each stacked critic (m).", 1),
        option(
            "--insert",
            "Where the layers go: top, bottom or a layer's name; auto compares three places by the "
            "score, where the steps are searched by it.",
            "auto",
        ),
        option(
            "--objective",
            "The game the critic comes from: auto (for a critic that ends with a sigmoid minimax, "
            "or non_saturating if --insert auto finds it better; else wasserstein), wasserstein, "
            "minimax, non_saturating, kl, hinge or least_squares.",
            "auto",
        ),
        option(
            "--average-critic",
            "With --insert auto: generator updates for which the GAN's game goes on, with copies, "
            "to average the critic over; that critic or --critic, whichever scores better.  "
            "[default: 500]",
            type=click.IntRange(0),
        ),
        options.PARTICLES,
        flag(
            "--line-search",
            "With --classifier: search as auto does, beginning with --step-size.",
        ),
    ],
    training=[
        option("--critic-steps", "Critic updates per layer (T0); one epoch if none.", type=COUNT),
        option("--learning-rate", "Learning rate of the critic's Adam.", 5e-5, type=POSITIVE),
        options.BATCH_SIZE,
        option("--penalty", "Weight of the gradient penalty (λ).", 10.0),
        flag("--one-sided", "Penalize only gradient norms above 1."),
    ],
    scores=[
        option("--classifier", "Score each epoch by this classifier, as score does."),
        option(
            "--real",
            "Images to score against; --data's test images or folder by default. "
            "Without --classifier, a file of samples.",
        ),
        option("--score-count", "Most samples to score.", 10_000, type=click.IntRange(2)),
    ],
    run=options.RUN,
)
def command(inputs, flow, training, scores, run):
    """Add gradient layers to a GAN of your own: tuner.keras, sampler.keras, report.html.

    With --classifier each depth is scored, and the best is kept. Without one, samples in a file are
    scored by the sliced Wasserstein distance to a tenth of them, which is held out.
    """
    data, real = inputs.data, scores.real
    if not scores.classifier and (flow.line_search or (real and not is_array(real))):
        name = "--real" if real else "--line-search"
        raise click.UsageError(f"{name} needs --classifier, which makes the score.")
    keras.utils.set_random_seed(run.seed)
    step_size = options.parse_step_size(flow.step_size)
    gan = (
        load_model(inputs.generator) if inputs.generator else None,
        sources.load_critic(inputs.critic, inputs.critic_output),
    )
    make_tuner = functools.partial(
        kgl.FineTuner,
        gan[0],
        max_layers=flow.layers,
        particles=options.parse_particles(flow.particles),
        steps_per_layer=flow.steps_per_layer,
    )
    start = {"critic": gan[1], "insert": flow.insert, "objective": flow.objective}
    tuner = make_tuner(step_size=step_size, **start)
    conditional = tuner.condition_spec is not None
    if inputs.labels and not (conditional and is_array(data)):
        raise click.UsageError("--labels is for a conditional GAN and --data in a file.")
    shape, value_range = tuner.sample_shape, tuner.output_range()
    held_out = known = None
    if not is_array(data):
        given = data, training.batch_size, run.seed, shape, value_range
        load = functools.partial(sources.load_data, *given, labels=conditional)
    else:
        samples = arrays.load_array(data, shape)
        if conditional:
            labels = inputs.labels or data
            labels = arrays.load_labels(labels, len(samples), tuner)
            samples = samples, labels
        if not (scores.classifier or real):
            samples, held_out = arrays.hold_out(samples)
            held_out, _ = unpair(held_out)
        known = arrays.in_range(arrays.some(unpair(samples)[0], 2500), value_range).numpy()
        given = samples, training.batch_size, run.seed, value_range
        load = functools.partial(arrays.batches, *given)
    samples = load()
    if real and not scores.classifier:
        held_out = arrays.load_array(real, shape)
    callbacks = [kgl.callbacks.GradientPenalty(training.penalty, training.one_sided)]
    if training.critic_steps:
        callbacks.append(kgl.callbacks.CriticInnerLoop(training.critic_steps))
        samples = samples.repeat()
    scorer, count = None, None
    if held_out is not None:
        scorer = sources.distance_to(arrays.in_range(held_out, value_range).numpy())
        count = max(1000, min(len(held_out), scores.score_count))  # samples to score
        if step_size == "auto" and known is not None:  # not by the samples that are held out
            tuner.step_size = kgl.step_rules.LineSearch(sources.distance_to(known))
    if scores.classifier:
        search = flow.line_search or step_size == "auto"
        if search and real is None and data not in IMAGES:
            click.echo("The search and the scores use the same images; --real names others.")
        real = real or (f"{data}:test" if data in IMAGES else data)
        make_scorer = functools.partial(
            sources.make_scorer,
            sources.load_classifier(scores.classifier),
            count=scores.score_count,
            shape=shape,
            value_range=value_range,
            labels=conditional,
        )
        scorer = make_scorer(real)
        if search:  # not on the images that are reported against, if there are others
            first = None if step_size == "auto" else step_size
            tuner.step_size = kgl.step_rules.LineSearch(make_scorer(data), step_size=first)
    validation = None
    if data in IMAGES:
        given = {"split": "test[:250]", "batch_size": 50}
        given |= {"labels": True} if conditional else {}
        validation = sources.load_images(data, value_range, shape, **given)
    searched = gan[0] is not None and isinstance(tuner.step_size, kgl.step_rules.LineSearch)
    if flow.average_critic and not (searched and flow.insert == "auto"):
        raise click.UsageError(
            "--average-critic needs --generator, --insert auto, and steps searched by a score."
        )
    opened = open_run(run.out, run.resume, "tuner.keras", real=real)
    out = opened.folder
    tuner.learn_conditions(samples)
    if searched and flow.insert == "auto":
        rows = None if tuner.condition_spec is None else (None, tuner.conditions.all_rows())
        begun = _start_of(opened.backups.config())
        if begun is None:
            critics = {"given": gan[1]}
            iterations = 500 if flow.average_critic is None else flow.average_critic
            if iterations:
                given = gan, load(), iterations, training  # as new, for a run that is resumed
                critics |= _averaged(*given, tuner.objective.name)
            begun = _best_start(gan[0], critics, tuner, rows, flow)
        start |= begun
        if flow.objective != "auto":  # where a run is resumed with another
            start["objective"] = flow.objective
        keras.utils.set_random_seed(run.seed)  # as of a run that is resumed, and did not search
        tuner = make_tuner(step_size=tuner.step_size, **start)
        if rows:
            tuner.learn_conditions(rows)
    tuner.compile(critic_optimizer=keras.optimizers.Adam(training.learning_rate, 0.5, 0.9))
    if scorer:
        path = out / "scores.json"
        restore = {"restore_best_layers": True, "path": path, "samples": count}
        callbacks.append(kgl.callbacks.Scores(scorer, **restore))
    if pictures.drawable(shape):
        callbacks.append(kgl.callbacks.SampleGrid(out / "grid"))
    callbacks.append(kgl.callbacks.FlowMonitor(validation, samples=250))
    latents = draw(tuner, 64, run.seed)
    pictures.sample_picture(out / "before.png", tuner(latents, layers=0), value_range)
    opened.fit(tuner, samples, flow.layers, callbacks, steps_per_epoch=training.critic_steps)
    tuner.sampler().save(out / "sampler.keras")
    pictures.sample_picture(out / "after.png", tuner.predict(latents, verbose=0), value_range)
    pictures.log_curves(out / "curves.png", out / "log.csv", "epoch")
    step_sizes = [float(eta) for eta in tuner.stack.step_sizes]
    page = report.write_report(out, step_sizes)
    opened.finish(tuner, "tuner.keras")
    layers = report.describe_layers(step_sizes)
    click.echo(f"{layers}; sampler: {out / 'sampler.keras'}; {page}")


def _start_of(config):
    """What an unfinished run began with."""
    if config is None:
        return None
    objective = keras.saving.deserialize_keras_object(config["objective"])
    return {"insert": config["insert"], "objective": objective}


def _averaged(gan, samples, iterations, training, objective):
    """The averaged critic by name; empty where the game cannot go on, or diverges."""
    presets = {
        "wasserstein": kgl.presets.wgan_gp(training.penalty, training.one_sided),
        "hinge": kgl.presets.hinge(),
        "least_squares": kgl.presets.least_squares(),
    }
    preset = presets.get(objective, kgl.presets.dcgan())
    click.echo(
        f"The game of --objective {objective} goes on for {iterations} generator updates, to "
        "average the critic."
    )
    try:
        bar = TqdmCallback(epochs=1, verbose=2, leave=False)
        given = {"iterations": iterations, "callbacks": [bar], "verbose": 0}
        return {"averaged": preset.average_critic(*gan, samples, **given)}
    except (FloatingPointError, ValueError) as e:
        click.echo(f"The given critic is followed. {e}")
        return {}


def _best_start(generator, critics, tuner, rows, flow):
    """Where layers improve the score most, along which critic and gradient; says what was found.

    Minimax and non-saturating are one game for the critic, and two for the generator.
    """
    known = tuner.objective.name
    both = (flow.objective, known) == ("auto", "minimax")
    objectives = ["minimax", "non_saturating"] if both else [known]
    scorer, found = tuner.step_size.scorer, {}
    for name, objective in itertools.product(critics, objectives):
        given = {"objective": objective, "steps_per_layer": flow.steps_per_layer}
        place, losses = kgl.best_insert(generator, critics[name], scorer, data=rows, **given)
        found[name, objective] = losses[place], place
        each = ", ".join(f"{_PLACES.get(k, f'after {k}')} {v:.4g}" for k, v in losses.items())
        click.echo(f"Scores of first layers, {name} critic, {objective}: {each}.")
    name, objective = min(found, key=found.__getitem__)
    place = found[name, objective][1]
    where = _PLACES.get(place, f"after {place}")
    click.echo(f"Layers go {where}, {name} critic, objective {objective}.")
    return {"critic": critics[name], "insert": place, "objective": objective}


_PLACES = {"top": "before the output activation", "bottom": "on the latent"}
