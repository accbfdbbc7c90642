"""The hinge objective."""

import keras
import tensorflow as tf

from keras_gradlayer.objectives.objective import Objective


@keras.saving.register_keras_serializable("keras_gradlayer")
class Hinge(Objective):
    """V = E min(0, D(x) − 1) + E min(0, −D(g(z)) − 1); the generator ascends the score, φ(t) = t.

    The critic leaves alone what it has on the right side with a margin of 1.

    Source: Lim & Ye, "Geometric GAN", 2017; Miyato et al., "Spectral Normalization for Generative
    Adversarial Networks", ICLR 2018, Eqs. (16) and (17).

    Example:
        >>> float(Hinge().value(tf.constant([0.5]), tf.constant([-2.0])))  # within the margin
        -0.5
    """

    name = "hinge"

    @staticmethod
    def potential(scores: tf.Tensor) -> tf.Tensor:
        """The score."""
        return scores

    @staticmethod
    def f(scores: tf.Tensor) -> tf.Tensor:
        """min(0, t − 1)."""
        return -tf.nn.relu(1 - scores)
