"""A step-size rule: a layer is stacked when it helps, with the step that helps."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.callbacks._followed import Followed
from keras_gradlayer.callbacks.step_callback import StepCallback
from keras_gradlayer.metrics._measure import check_scorer, loss_of, main_score, measure
from keras_gradlayer.metrics.scorer import Scorer


class Backtracking(StepCallback):
    """Halves the step of a layer until the layer helps; if none does, no layer is stacked.

    Use it with a large η: the step then is as long as the critic is right, and a critic that lags
    behind the flow is trained on before its layer is stacked. What helps is measured on samples
    from latents that no training sees:

    - by default, on the critic's own objective: the mean score has to rise by half of what its
      slope promises, E f(g1(G_η(z))) − E f(g1(z)) ≥ ½ η E‖∇(f∘g1)(z)‖² (Armijo's rule);
    - with `scorer`, on a score: it has to become better than at the depth reached so far. Each look
      costs what scoring `samples` samples costs.

    The log `layers` says how many were stacked, `tuner.stack.step_sizes` with which η.

    Source: the rule is Armijo (1966); Nitanda & Suzuki (2018) take a fixed η.

    Args:
        scorer: a `kgl.metrics.Scorer`, whose Fréchet distance counts, or a function of an array of
            samples that gives a dict of floats, of which the first counts, lower being better.
        halvings: how often the step is halved at most.
        samples: how many samples to measure on.
        seed: integer that their latents follow from.

    Raises:
        TypeError: for another model than a `FineTuner`, or a `scorer` that is no function.
        ValueError: for numbers out of range.

    Example: `tuner.fit(data, epochs=20, callbacks=[Backtracking(), GradientPenalty(10.0)])`
    """

    def __init__(
        self,
        scorer: Scorer | Callable[[np.ndarray], dict[str, float]] | None = None,
        halvings: int = 3,
        samples: int = 2500,
        seed: int = 2,
    ):
        super().__init__()
        if scorer is not None:
            check_scorer(scorer)
        self.scorer, self.seed = scorer, seed
        self.halvings = _checks.positive_int("halvings", halvings, zero_ok=True)
        self.samples = _checks.positive_int("samples", samples)
        self._followed = None

    def set_model(self, model: keras.Model) -> None:
        """Check that the model stacks layers, and follow the latents through them."""
        super().set_model(model)
        if not hasattr(model, "rollback"):
            raise TypeError(
                f"Backtracking is for a kgl.FineTuner. Received: a {type(model).__name__}"
            )
        self._followed, self._reached = Followed(model, self.samples, self.seed), None

        def program(step):
            return tf.function(
                step, jit_compile=model.jit_compile, reduce_retracing=True, autograph=False
            )

        self._sample = program(
            lambda z, eta: model.head(model.stack.move(z, step_size=eta), training=False)
        )
        self._slope = program(lambda z: _slope(model, z))
        self._rise = program(
            lambda z, eta: tf.reduce_sum(
                _potential(model, model.stack.move(z, step_size=eta)) - _potential(model, z)
            )
        )

    def layer_step(self, step_size: float, real: tf.Tensor) -> float:
        """The largest of η, η/2, η/4 … that helps, or 0."""
        helps = self._objective_rises if self.scorer is None else self._score_improves
        for _ in range(self.halvings + 1):
            if helps(step_size):
                return step_size
            step_size /= 2
        return 0.0

    def _objective_rises(self, step_size):
        eta, chunks = tf.constant(step_size, "float32"), self._followed.positions()
        promised = step_size * sum(float(self._slope(z)) for z in chunks)
        return sum(float(self._rise(z, eta)) for z in chunks) >= promised / 2 > 0

    def _score_improves(self, step_size):
        depth, eta = self.model.stack.depth, tf.constant(step_size, "float32")
        if self._reached is None or self._reached[0] != depth:
            self._reached = depth, self._loss(self._followed.batches())
        samples = (self._sample(z, eta).numpy() for z in self._followed.positions())
        loss = self._loss(samples)
        helps = loss < self._reached[1]
        if helps:
            self._reached = depth + 1, loss
        return helps

    def _loss(self, batches):
        scores, _ = measure(self.scorer, batches)
        return loss_of(scores, main_score(self.scorer, scores))

    def trace_key(self) -> tuple:
        """It traces nothing into the step."""
        return (type(self),)


def _potential(model, z):
    return tf.reshape(model.stack.score(model.head(z, training=False)), [-1])


def _slope(model, z):
    """The sum of ‖∇(f∘g1)‖²."""
    return tf.reduce_sum(tf.square(input_gradient(lambda z: _potential(model, z), z)))
