"""The objective of least squares GANs."""

import keras
import tensorflow as tf

from keras_gradlayer.objectives.objective import Objective


@keras.saving.register_keras_serializable("keras_gradlayer")
class LeastSquares(Objective):
    """V = −½ E (D(x) − 1)² − ½ E D(g(z))²; the generator ascends φ(t) = −½ (t − 1)².

    The labels are 1 for data and 0 for samples. They are in the range of a sigmoid, so a critic
    that ends with one keeps it.

    Source: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, Eq. (2) with
    a = 0 and b = c = 1.

    Example:
        >>> float(LeastSquares().potential(tf.constant(3.0)))
        -2.0
    """

    name = "least_squares"
    logits = False

    def value(self, real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
        """V, a scalar."""
        return -tf.reduce_mean((real_scores - 1) ** 2) / 2 - tf.reduce_mean(fake_scores**2) / 2

    @staticmethod
    def potential(scores: tf.Tensor) -> tf.Tensor:
        """−½ (t − 1)²."""
        return -((scores - 1) ** 2) / 2
