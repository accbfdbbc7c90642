"""What chooses η, layer by layer."""

from abc import ABC, abstractmethod
from typing import Any, Self

import keras

from keras_gradlayer import _checks


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


class Halving(StepRule):
    """Tries η, η/2, η/4, … on samples of its own; subclasses say what helps.

    Args:
        step_size: η, the first and longest step tried.
        halvings: the most times the step is halved.
        samples: how many samples to measure on.
        seed: integer that their latents follow from.
    """

    def __init__(self, step_size, halvings, samples, seed):
        super().__init__(step_size)
        self.halvings = _checks.positive_int("halvings", halvings, zero_ok=True)
        self.samples, self.seed = _checks.positive_int("samples", samples), seed

    def choose(self, tuner: keras.Model) -> float:
        """The longest step that helps, or 0."""
        self.look(tuner)
        steps = (self.step_size / 2**halving for halving in range(self.halvings + 1))
        return next((eta for eta in steps if self.helps(tuner, eta)), 0.0)

    @abstractmethod
    def look(self, tuner: keras.Model) -> None:
        """Measure the samples as they are."""

    @abstractmethod
    def helps(self, tuner: keras.Model, eta: float) -> bool:
        """Whether a step of η along the present critic is good enough."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("halvings", "samples", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
