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
    """

    follows_untrained = False
    """Whether a layer is tried with the critic as it was handed over, before it trains."""

    def __init__(self, step_size: float):
        self.step_size = _checks.positive_number("step_size", step_size)

    def start(self, tuner: keras.Model) -> None:
        """Get ready for a fit of this tuner."""
        return

    @abstractmethod
    def choose(self, tuner: keras.Model) -> float:
        """η for the layer that is due, or 0 to stack none and let the critic train on."""

    def follows_on(self) -> bool:
        """Whether the same critic is to be followed by another layer."""
        return False

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
        return _checks.positive_number("step_size", self._at(tuner.stack.depth), zero_ok=True)
