"""What a fine-tuning run came to, in a line, and what to try next, from its own log and scores."""

import math


def verdict(kept, first, last, main):
    """A run in a line, such as "4 layers kept, Fréchet distance 10.1 to 7.87".

    Args:
        kept: how many layers there are.
        first: scores without a layer, by name; empty if nothing was scored.
        last: scores with the layers that are kept, or `None`.
        main: the score that says what is best.
    """
    layers = {0: "No layer", 1: "1 layer"}.get(kept, f"{kept} layers")
    if not first:
        return f"{layers} stacked, judged by the critic alone"
    if kept and last is None:
        return f"{layers} kept, not scored"
    if not kept:
        return f"{layers} kept, {title_of(main)} {first[main]:.3g}"
    return f"{layers} kept, {title_of(main)} {first[main]:.3g} to {last[main]:.3g}"


def title_of(name):
    """A score's name in words."""
    return name.replace("_", " ").replace("frechet", "Fréchet")


def epochs_of(log, kept):
    """In which epoch, from 1, each layer was stacked; `None` where the log does not say."""
    depths = [(int(row["epoch"]) + 1, _number(row.get("layers"))) for row in log]
    return [next((e for e, d in depths if d >= k), None) for k in range(1, kept + 1)]


def next_steps(settings, log, scores, kept):
    """What to try next, a list of sentences.

    Args:
        settings: the options of `finetune`, as run.json has them.
        log: rows of log.csv.
        scores: rows of scores.json.
        kept: how many layers the run ended with.
    """
    room, size = int(settings["layers"]), settings["step_size"]
    searched = size == "auto" or settings.get("line_search")
    steps = settings.get("critic_steps")
    longer = f"--critic-steps {2 * steps}" if steps else f"more epochs, --layers {2 * room}"
    depths = [_number(row.get("layers")) for row in (*log, *scores)]
    deepest = max([int(d) for d in depths if d >= 0], default=kept)
    epochs = [e for e in epochs_of(log, kept) if e]
    tips = []
    if not deepest:
        tips.append(
            "No step was accepted: the critic does not yet know what is wrong with these samples. "
            f"Train it longer: {longer}."
        )
    elif not kept:
        if size == "auto":
            tip = f"Train the critic longer before each: {longer}."
        elif searched:
            tip = "Take smaller steps: --step-size auto."
        else:
            tip = f"Take smaller steps: --step-size {float(size) / 4:g}, or auto."
        tips.append(f"Every layer made the samples worse. {tip}")
    elif kept < deepest:
        smaller = "" if searched else f" Take smaller steps: --step-size {float(size) / 2:g}."
        tips.append(
            f"The samples got worse after layer {kept} of {deepest}, so more layers of this kind "
            f"will not help.{smaller or f' Train the critic longer between them: {longer}.'}"
        )
    elif kept >= room:
        tips.append(
            f"Every layer allowed by --layers was kept: try --layers {2 * room}, with a new --out."
        )
    elif epochs and log and epochs[-1] == int(log[-1]["epoch"]) + 1:
        tips.append(f"The last epoch still added a layer: try more epochs, --layers {2 * room}.")
    else:
        tips.append(
            "Later critics found no further step. Train the critic longer before each, "
            f"{longer}, or move another feature map, --insert."
        )
    if not scores:
        tips.append(
            "Nothing but the critic judged this run, and a critic is a weak judge. Pass "
            "--classifier for images, or a file of samples as --real."
        )
    real, data = settings.get("real"), settings.get("data")
    if searched and settings.get("classifier") and real == data:
        tips.append("The search and these scores used the same images: name others by --real.")
    last = log[-1] if log else {}
    seen, unseen = _number(last.get("wasserstein")), _number(last.get("heldout_wasserstein"))
    if seen > 0 and unseen < seen / 2:
        tips.append(
            f"The critic estimates W1 at {seen:.3g} on the data it trains on, and at {unseen:.3g} "
            "on held-out data: it overfits. Use more data or fewer --critic-steps."
        )
    margins = [_number(row.get("injectivity_margin")) for row in log]
    if any(margin < 0 for margin in margins) and not searched:
        finer = 2 * int(settings.get("steps_per_layer") or 1)
        tips.append(
            "A layer may have moved different samples to one place (its margin is below 0): take "
            f"a smaller --step-size, or --steps-per-layer {finer}."
        )
    return tips


def _number(text):
    """A cell of a log as a float; NaN, which nothing is greater or less than, if it is empty."""
    return math.nan if text in (None, "") else float(text)
