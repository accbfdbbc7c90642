"""What chooses η, layer by layer."""

from abc import ABC, abstractmethod
from typing import Any, Self

import keras
import tensorflow as tf
from tqdm import tqdm

from keras_gradlayer import _checks
from keras_gradlayer.models._followed import Followed


class StepRule(ABC):
    """How far each layer of a `FineTuner` goes: `FineTuner(..., step_size=rule)`.

    To add a rule, subclass this in a file of its own and define `choose`. It runs in Python, each
    time a layer is due.

    Args:
        step_size: η, a positive finite number: the first that is tried.

    Raises:
        ValueError: if it is not.

    Example:

        >>> class Decaying(StepRule):
        ...     def choose(self, tuner):
        ...         return self.step_size / (1 + tuner.stack.depth)
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> tuner = kgl.FineTuner(None, critic, step_size=Decaying(0.5))
    """

    follows_untrained = False
    """Whether a layer is tried with the critic as it was handed over, before it trains."""

    follows_on = False
    """Whether the critic that made the last layer is to be followed by another."""

    def __init__(self, step_size: float):
        self.step_size = _checks.positive_number("step_size", step_size)

    def start(self, tuner: keras.Model) -> None:
        """Get ready for a fit of this tuner."""
        return

    @abstractmethod
    def choose(self, tuner: keras.Model) -> float:
        """η for the layer that is due, or 0 to stack none and let the critic train on."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"step_size": self.step_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuild the rule."""
        return cls(**config)


class Scheduled(StepRule):
    """η by a Keras schedule of the number of layers, or the same for all."""

    def __init__(self, schedule):
        self.schedule = schedule
        super().__init__(self._at(0))

    def _at(self, layers):
        is_schedule = isinstance(self.schedule, keras.optimizers.schedules.LearningRateSchedule)
        return float(self.schedule(layers)) if is_schedule else self.schedule

    def choose(self, tuner: keras.Model) -> float:
        """η of the next layer."""
        return _checks.positive_number("step_size", self._at(tuner.stack.depth))


class Search(StepRule):
    """Tries steps on samples of its own: shorter until one helps, or longer while they do.

    Args:
        step_size: η, the step to begin with; `None` for one that follows from the samples' spread
            and their gradients.
        halvings: the most times the step is halved, or doubled.
        samples: how many samples to measure on.
        seed: integer that their latents follow from.
    """

    grows = True
    """Whether longer steps are tried; the search then begins with the step of the last layer."""

    compares = False
    """Whether one step can be better than another, so that shorter ones are tried, too."""

    def __init__(self, step_size, halvings, samples, seed):
        if step_size is not None:
            super().__init__(step_size)
        self.step_size = step_size
        self.halvings = _checks.positive_int("halvings", halvings, zero_ok=True, most=100)
        self.samples = _checks.positive_int("samples", samples)
        self.seed, self._made_for = _checks.seed(seed), None

    def start(self, tuner: keras.Model) -> None:
        """Follow latents of its own through the layers."""
        made_for = tuner, tuner.jit_compile, tuner.run_eagerly
        if self._made_for != made_for:  # else the programs of the last fit go on
            self.make_programs(tuner)
            self._made_for = made_for
        self._followed.reset()

    def make_programs(self, tuner: keras.Model) -> None:
        """Make what runs on tensors."""
        self._followed = Followed(tuner, self.samples, self.seed)
        self._gradient = tuner.program(lambda z, c: tuner.stack.follow(z, condition=c)[1])

    def choose(self, tuner: keras.Model) -> float:
        """The step that helps, the longest or the best of them, or 0."""
        bar = tqdm(
            desc=f"step of layer {tuner.stack.depth + 1}",
            unit="trial",
            delay=1,  # short searches show nothing
            leave=False,
            disable=not tuner.loop.verbose,
        )

        def helps(eta):
            bar.set_postfix({"η": f"{eta:.4g}"}, refresh=False)
            found = self.helps(tuner, eta)
            bar.update()
            return found

        with bar:
            self.look(tuner)
            return self._searched(self._first(tuner), helps)

    def _searched(self, eta, helps):
        least = 0.5**self.halvings
        if not helps(eta):
            shorter = [eta / 2**k for k in range(1, self.halvings + 1)]
            helpful = next((eta for eta in shorter if helps(eta)), 0.0)
            least *= eta
            while self.compares and helpful > least and helps(helpful / 2):
                helpful /= 2
            return helpful
        most = eta / least if self.grows else eta
        while eta < most and helps(2 * eta):
            eta *= 2
        return eta

    def _first(self, tuner):
        sizes = tuner.stack.step_sizes
        if self.grows and len(sizes):
            return float(sizes[-1])
        if self.step_size is not None:
            return self.step_size
        # A tenth of the samples' spread.
        z, condition = self._chunks[0]
        gradient = self._gradient(z, condition)
        spread, slope = (float(tf.norm(x)) for x in (z - tf.reduce_mean(z, axis=0), gradient))
        return 0.1 * spread / slope if slope > 0 and spread > 0 else 1.0

    @abstractmethod
    def look(self, tuner: keras.Model) -> None:
        """Measure the samples as they are."""
        self._chunks = self._followed.positions()

    @abstractmethod
    def helps(self, tuner: keras.Model, eta: float) -> bool:
        """Whether a step of η along the present critic is better than those tried before."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("step_size", "halvings", "samples", "seed")
        return {name: getattr(self, name) for name in names}
