"""A step-size rule on the critic's own objective."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer._conditions import call
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.step_rules.step_rule import Search


@keras.saving.register_keras_serializable("keras_gradlayer")
class Backtracking(Search):
    """Takes the longest step along which the critic's own objective rises enough.

    Use it where no score can judge samples; it is what `step_size="auto"` stands for. The step is
    as long as the critic is close to linear along it: halved from a given η, or without one doubled
    or halved from that of the last layer. With
    φ the objective's potential (the score itself, for the Wasserstein objective), the mean of
    h = φ∘f∘g1 over samples from latents that training never sees has to rise by half of what its
    slope promises, E h(G_η(z)) − E h(z) ≥ ½ η E‖∇h(z)‖². Without a given η the samples' scores may
    not rise above those of the data either: by no more than the estimate in the log, `wasserstein`,
    for a critic of straight pieces promises a gain without end. Where no step does, no layer is
    stacked, and the critic trains on. `tuner.stack.step_sizes` lists the steps taken.

    Source: Armijo's rule (1966), and Polyak's bound (1969), the step that would reach a known
    optimum; Nitanda & Suzuki (2018) take a fixed η.

    Args:
        step_size: η, the first and longest step tried; `None` begins with a tenth of the samples'
            spread.
        halvings: the most times the step is halved, or doubled.
        samples: how many samples to measure on.
        seed: integer that their latents follow from.

    Raises:
        ValueError: for numbers out of range.

    Example:

    >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    >>> tuner = kgl.FineTuner(None, critic, step_size=Backtracking(1.0))
    """

    def __init__(
        self,
        step_size: float | None = None,
        halvings: int = 3,
        samples: int = 1000,
        seed: int = 2,
    ):
        super().__init__(step_size, halvings, samples, seed)
        self.grows = step_size is None

    def make_programs(self, tuner: keras.Model) -> None:
        """Make what runs on tensors."""
        super().make_programs(tuner)
        h = tuner.stack.climbed

        def slope(z, c):
            return tf.reduce_sum(tf.square(input_gradient(lambda z: h(z, c), z)))

        def f(z, c):
            x = call(tuner.head, z, c, training=False)
            return tf.cast(tuner.stack.score(x, condition=c), z.dtype)

        def rise(z, c, eta):
            moved = tuner.stack.move(z, step_size=eta, condition=c)
            return tf.stack([tf.reduce_sum(g(moved, c) - g(z, c)) for g in (h, f)])

        self._slope, self._rise = tuner.program(slope), tuner.program(rise)

    def look(self, tuner: keras.Model) -> None:
        """Find the slope along the present critic, and how far the samples' scores may rise."""
        super().look(tuner)
        self._promised = sum(float(self._slope(z, c)) for z, c in self._chunks)
        estimate = float(tuner.means["wasserstein"].result())
        self._room = estimate * self.samples if self.grows else math.inf

    def helps(self, tuner: keras.Model, eta: float) -> bool:
        """Whether the scores rise by half of what their slope promises."""
        step = tf.constant(eta, tuner.stack.variable_dtype)
        rises = [self._rise(z, c, step).numpy() for z, c in self._chunks]
        risen, score = np.sum(rises, axis=0, dtype="float64")
        return math.inf > risen >= eta * self._promised / 2 > 0 and score <= self._room
