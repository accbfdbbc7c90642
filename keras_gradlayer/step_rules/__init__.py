"""How far each gradient layer of a `FineTuner` goes."""

from keras_gradlayer.step_rules.backtracking import Backtracking
from keras_gradlayer.step_rules.line_search import LineSearch
from keras_gradlayer.step_rules.step_rule import StepRule

__all__ = ["Backtracking", "LineSearch", "StepRule"]
