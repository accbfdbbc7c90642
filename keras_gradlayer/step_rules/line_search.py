"""Each critic is followed as far as a held-out score improves."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer._conditions import call, pair
from keras_gradlayer.metrics._measure import (
    check_comparable,
    check_scorer,
    loss_of,
    main_score,
    measure,
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

    A scorer is not saved with the tuner, unless it is a function registered with
    `keras.saving.register_keras_serializable`: give a loaded tuner a new rule before `fit`, by
    `tuner.step_size = LineSearch(scorer)`.

    Args:
        scorer: a `kgl.metrics.Scorer`, of which the Fréchet distance counts, or a function of an
            array of samples that gives a dict of floats, of which the first counts. Scores of a
            `Scorer` improve as it says, all others when they fall.
        step_size: η, the first step tried; by default one of a tenth of the samples' spread.
        halvings: the most times the step is halved, or doubled.
        samples: how many samples to score.
        seed: integer that their latents follow from.

    Raises:
        TypeError: for a `scorer` that is no function.
        ValueError: for numbers out of range.

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
    ):
        super().__init__(step_size, halvings, samples, seed)
        if scorer is not None:  # as in the config of one whose scorer could not be saved
            check_scorer(scorer)
        self.scorer = scorer

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
                check_comparable(*few)
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
        """The scores by name, and the name of the one that counts."""
        scores = measure(self.scorer, batches, self._value_range)
        return scores, main_score(self.scorer, scores)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; a scorer that is not registered is left out."""
        known = inspect.isfunction(self.scorer) and (
            keras.saving.get_registered_object(keras.saving.get_registered_name(self.scorer))
            is self.scorer
        )
        return {
            **super().get_config(),
            "scorer": keras.saving.serialize_keras_object(self.scorer) if known else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LineSearch":
        """Rebuild the rule."""
        return cls(**{**config, "scorer": keras.saving.deserialize_keras_object(config["scorer"])})


def _is_gain(loss, known):
    """Whether a loss is lower by what a layer has to be worth; any is, where the other is none."""
    return loss < known and (np.isinf(known) or known - loss > _LEAST_GAIN * abs(known))
