"""The Wasserstein objective."""

import keras
import tensorflow as tf

from keras_gradlayer.objectives.objective import Objective


@keras.saving.register_keras_serializable("keras_gradlayer")
class Wasserstein(Objective):
    """V = E f(x) − E f(g(z)), the dual of the Wasserstein-1 distance for 1-Lipschitz f.

    The generator ascends the score itself, φ(t) = t.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, Eq. (2).

    Example:
        >>> float(Wasserstein().value(tf.constant([2.0]), tf.constant([-1.0])))
        3.0
    """

    name = "wasserstein"

    @staticmethod
    def f(scores: tf.Tensor) -> tf.Tensor:
        """The score."""
        return scores
