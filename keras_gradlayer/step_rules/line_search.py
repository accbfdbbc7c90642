"""Each critic is followed as far as a held-out score improves."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call, pair
from keras_gradlayer.metrics._measure import (
    check_comparable,
    check_monitor,
    check_scorer,
    loss_of,
    measure,
    weighed,
)
from keras_gradlayer.metrics.scorer import Scorer
from keras_gradlayer.step_rules.step_rule import Search

_LEAST_GAIN = 0.005


@keras.saving.register_keras_serializable("keras_gradlayer")
class LineSearch(Search):
    """Stacks a layer only if it improves a held-out score, and as many as do.

    Use it on images, where a critic's own objective is a poor judge of samples: changes that nobody
    sees can raise it without end. Where a layer is due, the step is halved until the score of
    samples that training never sees improves, or doubled while it improves further. Steps are tried
    on a quarter of the samples, and the last one has to improve the score of all by half a percent
    or more, which is what a layer has to be worth. If it does, the same critic is followed
    further, by another layer that begins with this step; if no step helps, none is stacked, and
    the critic trains on. The critic that was handed over is followed before it trains at all. The
    number of layers is no longer the number of epochs; `max_layers` bounds it.
    `tuner.stack.step_sizes` lists the steps taken.

    The search overfits its score a little: report one against other real images and other latents
    than the search is given.

    Source: a departure from Nitanda & Suzuki (2018), whose Algorithm 1 trains the critic before
    each layer and stacks every layer.

    Scorer and monitor are not saved with the tuner, unless they are functions registered with
    `keras.saving.register_keras_serializable`: give a loaded tuner a new rule before `fit`, by
    `tuner.step_size = LineSearch(scorer)`.

    Args:
        scorer: a `kgl.metrics.Scorer`, or a function of an array of samples that gives a dict of
            floats.
        step_size: η, the first step tried; by default one of a tenth of the samples' spread.
        halvings: the most times the step is halved, or doubled.
        samples: how many samples to score.
        seed: integer that their latents follow from.
        monitor: what counts: the name of a score, or a function of the dict of scores, the higher
            the better, such as `lambda s: s["precision"] + 2 * s["recall"]`. By default the Fréchet
            distance of a `Scorer` and the first score of a function. A score by name improves as
            `Scorer` says, and any other when it falls.

    Raises:
        TypeError: for a `scorer` that is no function, or a `monitor` that is neither.
        ValueError: for numbers out of range, or a score that there is not.

    Example:
        >>> held_out = np.zeros((10, 2))
        >>> def scores(x):
        ...     return {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(held_out, x)}
        >>> rule = LineSearch(scores)  # or LineSearch(scorer), of a kgl.metrics.Scorer
    """

    follows_untrained = compares = True

    def __init__(
        self,
        scorer: Scorer | Callable[[np.ndarray], dict[str, float]],
        step_size: float | None = None,
        halvings: int = 8,
        samples: int = 2500,
        seed: int = 2,
        monitor: str | Callable[[dict[str, float]], float] | None = None,
    ):
        super().__init__(step_size, halvings, samples, seed)
        if scorer is not None:  # as in the config of one whose scorer could not be saved
            check_scorer(scorer)
        if monitor is not None:
            what = "the name of a score, a function of the scores, or None"
            _checks.instance_of("monitor", monitor, (str, Callable), what)
        check_monitor(scorer, monitor)
        self.scorer, self.monitor = scorer, monitor

    _known: tuple[int, float, float] | None = None  # depth, and the loss of the few and of all

    def start(self, tuner: keras.Model) -> None:
        """Follow latents of its own through the layers."""
        if self.scorer is None:
            raise ValueError(
                "This LineSearch was loaded from a file, which holds no scorer. Expected "
                "`tuner.step_size = kgl.step_rules.LineSearch(scorer)` before fit."
            )
        super().start(tuner)
        self._known, self._value_range = None, tuner.output_range()

    @property
    def loss(self) -> float:
        """What its samples score with the layers accepted so far, better when lower."""
        if self._known is None:
            raise ValueError("No samples have been scored yet. Expected a search before.")
        return self._known[2]

    def make_programs(self, tuner: keras.Model) -> None:
        """Make what runs on tensors."""
        super().make_programs(tuner)

        def sample(z, condition, eta):
            moved = tuner.stack.move(z, step_size=eta, condition=condition)
            return tf.cast(call(tuner.head, moved, condition, training=False), "float32")

        self._sample = tuner.program(sample)

    def look(self, tuner: keras.Model) -> None:
        """Score the samples as they are: a quarter of them, and all."""
        super().look(tuner)
        depth = tuner.stack.depth
        self._few = max(1, len(self._chunks) // 4)
        if self._known is None or self._known[0] != depth:
            batches = list(self._followed.batches())
            few = self._scores(batches[: self._few])
            if not depth:
                check_comparable(*few[:2])
            self._known = depth, loss_of(*few), self._loss(batches)
        self._best = self._known[1]

    def helps(self, tuner: keras.Model, eta: float) -> bool:
        """Whether the score of the few is better than after the steps tried before."""
        loss = self._loss(self._moved(tuner, eta, self._few))
        better = loss < self._best
        self._best = min(loss, self._best)
        return better

    def choose(self, tuner: keras.Model) -> float:
        """The step that the few prefer, if it improves the score of all; else 0."""
        eta = super().choose(tuner)
        self.follows_on = False
        if eta:
            # Where the few are all, their score is known.
            whole = self._few == len(self._chunks)
            loss = self._best if whole else self._loss(self._moved(tuner, eta))
            if self._known is None or _is_gain(loss, self._known[2]):
                self._known = tuner.stack.depth + 1, self._best, loss
                self.follows_on = True
        return eta if self.follows_on else 0.0

    def _moved(self, tuner, eta, chunks=None):
        step = tf.constant(eta, tuner.stack.variable_dtype)
        for z, c in self._chunks[:chunks]:
            yield pair(self._sample(z, c, step).numpy(), c)

    def _loss(self, batches):
        return loss_of(*self._scores(batches))

    def _scores(self, batches):
        """The scores by name, the name of the one that counts, and its direction."""
        scores = measure(self.scorer, batches, self._value_range)
        return weighed(self.scorer, scores, self.monitor)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; functions that are not registered are left out."""
        plain = self.monitor is None or isinstance(self.monitor, str)
        config = super().get_config() | {"scorer": None, "monitor": None}
        if _is_registered(self.scorer) and (plain or _is_registered(self.monitor)):
            given = {"scorer": self.scorer, "monitor": self.monitor}
            config |= {k: keras.saving.serialize_keras_object(v) for k, v in given.items()}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LineSearch":
        """Rebuild the rule."""
        given = {k: config[k] for k in ("scorer", "monitor") if k in config}
        return cls(
            **config | {k: keras.saving.deserialize_keras_object(v) for k, v in given.items()}
        )


def _is_registered(f):
    name = inspect.isfunction(f) and keras.saving.get_registered_name(f)
    return bool(name) and keras.saving.get_registered_object(name) is f


def _is_gain(loss, known):
    """Whether a loss is lower by what a layer has to be worth; any is, where the other is none."""
    return loss < known and (np.isinf(known) or known - loss > _LEAST_GAIN * abs(known))
