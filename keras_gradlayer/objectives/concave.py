"""The general form of the Wasserstein and minimax objectives."""

from collections.abc import Callable

import keras

from keras_gradlayer.objectives.objective import Objective


@keras.saving.register_keras_serializable("keras_gradlayer")
class Concave(Objective):
    """V = E f(D(x)) + E f(−D(g(z))) for a concave increasing f of the critic's score.

    f(t) = t is `Wasserstein`; f(t) = −log(1 + exp(−t)), the log of the sigmoid, is `Minimax`.

    Source: Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS
    2017, Eq. (2).

    Args:
        f: a function of tensors, entry by entry: a name of `keras.activations`, such as
            `"log_sigmoid"`, or a callable registered for serialization.

    Raises:
        ValueError: if there is no activation of that name.

    Example:
        >>> objective = Concave("log_sigmoid")      # the same game as "minimax"
    """

    def __init__(self, f: str | Callable):
        try:
            found = None if f is None else keras.activations.get(f)
        except (TypeError, ValueError):
            found = None
        if not callable(found):
            raise ValueError(
                f"`f` must be the name of an activation of Keras, or a function. Received: f={f!r}"
            )
        self.f = found

    def get_config(self) -> dict:
        """Config with f serialized."""
        return {"f": keras.activations.serialize(self.f)}
