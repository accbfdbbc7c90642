"""The general form of the Wasserstein and minimax objectives."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.objectives.objective import Objective


@keras.saving.register_keras_serializable("keras_gradlayer")
class Concave(Objective):
    """V = E f(D(x)) + E f(−D(g(z))) for a concave increasing f of the critic's score.

    f(t) = t is `Wasserstein`; f(t) = −log(1 + exp(−t)), the log of the sigmoid, is `Minimax`, and
    with `alternative=1` `NonSaturating`.

    Source: Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS
    2017, Eq. (2), and the alternative updates of section 3.1, which all have the same Jacobian at
    the equilibrium.

    Args:
        f: a function of tensors, entry by entry: a name of `keras.activations`, such as
            `"log_sigmoid"`, or a callable registered for serialization.
        alternative: the share in [0, 1] that V' = −E f(D(g(z))) has in what the generator descends;
            V has the rest.

    Raises:
        ValueError: if there is no activation of that name, or for a share out of [0, 1].

    Example:
        >>> objective = Concave("log_sigmoid")      # the same game as "minimax"
    """

    def __init__(self, f: str | Callable, alternative: float = 0.0):
        try:
            found = None if f is None else keras.activations.get(f)
        except (TypeError, ValueError):
            found = None
        if not callable(found):
            raise ValueError(
                f"`f` must be the name of an activation of Keras, or a function. Received: f={f!r}"
            )
        self.f = found  # type: ignore[method-assign]  # each has one of its own
        self.alternative = _checks.fraction("alternative", alternative)

    def potential(self, scores: tf.Tensor) -> tf.Tensor:
        """φ(t) = −(1 − a) f(−t) + a f(t), with the alternative's share a."""
        return self.alternative * self.f(scores) - (1 - self.alternative) * self.f(-scores)

    def get_config(self) -> dict:
        """Config with f serialized."""
        return {"f": keras.activations.serialize(self.f), "alternative": self.alternative}
