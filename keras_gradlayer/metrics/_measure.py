"""Scores of samples by a `Scorer` or by a user's function, for callbacks and step rules."""

from collections.abc import Callable

import numpy as np

from keras_gradlayer import _checks, _images
from keras_gradlayer._conditions import unpair
from keras_gradlayer.metrics.scorer import DIRECTIONS, SCORES, Scorer


def check_scorer(scorer):
    """Check that `scorer` can be called on samples."""
    what = "a kgl.metrics.Scorer or a function of samples"
    _checks.instance_of("scorer", scorer, Callable, what)


def measure(scorer, batches, value_range):
    """Scores by name of batches of samples, in the range of a generator, if it has one.

    Batches of (samples, conditions) are scored by class as well.
    """
    if isinstance(scorer, Scorer):
        return scorer(batches, value_range if _images.bounded(value_range) else None).scores
    scores = scorer(np.concatenate([unpair(batch)[0] for batch in batches]))
    if not isinstance(scores, dict) or not scores or scores.keys() & {"epoch", "layers"}:
        raise ValueError(
            "`scorer` must give a dict of scores by name, none of them 'epoch' or 'layers'. "
            f"Received: {scores!r}"
        )
    try:
        return {name: float(value) for name, value in scores.items()}
    except (TypeError, ValueError) as e:
        raise ValueError(f"`scorer` must give numbers by name. Received: {scores!r}") from e


def check_comparable(scores, name):
    """Check that the samples as they are have a score that others can be compared with."""
    if not np.isfinite(scores[name]):
        raise ValueError(
            "`scorer` must give a finite score of the samples as they are, or none could be said "
            f"to be better. Received: {name}={scores[name]}"
        )


def main_score(scorer, scores, monitor=None):
    """The name of the score to compare by."""
    name = monitor or ("frechet_distance" if isinstance(scorer, Scorer) else next(iter(scores), ""))
    if name not in scores:
        raise ValueError(f"`monitor` must be one of {', '.join(scores)}. Received: {name!r}")
    return name


def loss_of(scores, name, mode=None):
    """A score as a value to minimise; NaN is the worst."""
    sign = -1 if (mode or DIRECTIONS.get(name, "min")) == "max" else 1
    return sign * scores[name] if np.isfinite(scores[name]) else np.inf


def check_monitor(scorer, monitor):
    """Check that a `Scorer` has a score of that name; of a function none is known yet."""
    if isinstance(monitor, str) and isinstance(scorer, Scorer):
        main_score(scorer, dict.fromkeys((*SCORES, *DIRECTIONS)), monitor)


def weighed(scorer, scores, monitor):
    """Scores, the name of the one to compare by, and its direction, as `loss_of` takes them.

    `monitor` is a name or a function of the scores, the higher the better.
    """
    if not callable(monitor):
        return scores, main_score(scorer, scores, monitor), None
    try:
        return {"monitor": float(monitor(scores))}, "monitor", "max"
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as e:
        raise ValueError(
            f"`monitor` must give a number of the scores {', '.join(scores)}. Received: {e!r}"
        ) from e
