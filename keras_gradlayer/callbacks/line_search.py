"""Each critic is followed as far as a held-out score gets better."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.callbacks._followed import Followed
from keras_gradlayer.callbacks.step_callback import StepCallback
from keras_gradlayer.metrics._measure import check_scorer, loss_of, main_score, measure
from keras_gradlayer.metrics.scorer import Scorer


class LineSearch(StepCallback):
    """Stacks a layer only if it makes a held-out score better, and as many as do.

    Use it on images, where a critic's own objective is a poor judge of samples: it can be raised
    without end by changes that nobody sees. Where a layer is due, the step is halved until the
    score of samples that no training sees gets better. If it does, the same critic is followed on,
    by another layer; if no step helps, none is stacked, and the critic trains on. The critic that
    was handed over is followed before it is trained at all. The number of layers no longer is that
    of the epochs; `max_layers` bounds it.

    A score that is looked at so often is fitted a little: report one against other real images and
    other latents than those that the search is given.

    Source: a departure from Nitanda & Suzuki (2018), whose Algorithm 1 trains the critic before
    each layer and stacks every layer.

    Args:
        scorer: a `kgl.metrics.Scorer`, whose Fréchet distance counts, or a function of an array of
            samples that gives a dict of floats, of which the first counts. Scores that a `Scorer`
            gives are better as it says, all others when lower.
        halvings: how often the step is halved at most.
        samples: how many samples to score.
        seed: integer that their latents follow from.

    Raises:
        TypeError: for another model than a `FineTuner`, or a `scorer` that is no function.
        ValueError: for numbers out of range.

    Example: `tuner.fit(data, epochs=20, callbacks=[LineSearch(scorer), GradientPenalty(10.0)])`
    """

    moves_first = True
    excludes = ("Backtracking",)

    def __init__(
        self,
        scorer: Scorer | Callable[[np.ndarray], dict[str, float]],
        halvings: int = 2,
        samples: int = 2500,
        seed: int = 2,
    ):
        super().__init__()
        check_scorer(scorer)
        self.scorer, self.seed = scorer, seed
        self.halvings = _checks.positive_int("halvings", halvings, zero_ok=True)
        self.samples = _checks.positive_int("samples", samples)

    def set_model(self, model: keras.Model) -> None:
        """Check that the model stacks layers, and follow the latents through them."""
        super().set_model(model)
        if not hasattr(model, "rollback"):
            raise TypeError(
                f"LineSearch is for a kgl.FineTuner. Received: a {type(model).__name__}"
            )
        self._followed = Followed(model, self.samples, self.seed)
        self._best = self._helped = None
        self._sample = tf.function(
            lambda z, eta: tf.cast(
                model.head(model.stack.move(z, step_size=eta), training=False), "float32"
            ),
            jit_compile=model.jit_compile,
            reduce_retracing=True,
            autograph=False,
        )

    def layer_step(self, step_size: float, real: tf.Tensor) -> float:
        """The first of η, η/2, η/4 … that makes the score better, or 0."""
        depth = self.model.stack.depth
        if self._best is None or self._best[0] != depth:
            self._best = depth, self._loss(self._followed.batches())
        for halving in range(self.halvings + 1):
            eta = step_size / 2**halving
            step = tf.constant(eta, "float32")
            loss = self._loss(self._sample(z, step).numpy() for z in self._followed.positions())
            if loss < self._best[1]:
                self._best, self._helped = (depth + 1, loss), True
                return eta
        self._helped = False
        return 0.0

    def moves_again(self) -> bool:
        """Whether this critic helped: it is followed on."""
        return self._helped

    def _loss(self, batches):
        scores = measure(self.scorer, batches)
        return loss_of(scores, main_score(self.scorer, scores))

    def trace_key(self) -> tuple:
        """It traces nothing into the step."""
        return (type(self),)
