"""Objectives V(D, G)."""

from keras_gradlayer.objectives.concave import Concave
from keras_gradlayer.objectives.hinge import Hinge
from keras_gradlayer.objectives.kl import KL
from keras_gradlayer.objectives.least_squares import LeastSquares
from keras_gradlayer.objectives.minimax import Minimax
from keras_gradlayer.objectives.non_saturating import NonSaturating
from keras_gradlayer.objectives.objective import Objective
from keras_gradlayer.objectives.wasserstein import Wasserstein

_ALL = (Wasserstein, Minimax, NonSaturating, KL, Hinge, LeastSquares)
_BY_NAME = {cls.name: cls for cls in _ALL}

__all__ = [
    "Concave",
    "Hinge",
    "KL",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Objective",
    "Wasserstein",
]


def get(identifier: str | Objective) -> Objective:
    """The objective of that name, or the objective itself."""
    if isinstance(identifier, Objective):
        return identifier
    if not isinstance(identifier, str) or identifier not in _BY_NAME:
        raise ValueError(
            f"`objective` must be one of {', '.join(map(repr, _BY_NAME))} or an Objective. "
            f"Received: objective={identifier!r}"
        )
    return _BY_NAME[identifier]()
