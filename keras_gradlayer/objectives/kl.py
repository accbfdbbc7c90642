"""The minimax critic with the Kullback-Leibler divergence for the generator."""

import keras
import tensorflow as tf

from keras_gradlayer.objectives.minimax import Minimax


@keras.saving.register_keras_serializable("keras_gradlayer")
class KL(Minimax):
    """The critic's V is that of `Minimax`; the generator ascends the score itself, φ(t) = t.

    The best critic's score is the log ratio log p(x)/q(x) of the data's density and the samples',
    and its gradient is the direction of steepest descent of KL(q ‖ p). It neither vanishes where
    the critic rejects the samples, as that of `Minimax`, nor where it accepts them, as that of
    `NonSaturating`.

    Source: Sønderby et al., "Amortised MAP Inference for Image Super-resolution", ICLR 2017, whose
    generator descends −E log D/(1 − D).

    Example:
        >>> float(KL().potential(tf.constant(2.0)))
        2.0
    """

    name = "kl"

    @staticmethod
    def potential(scores: tf.Tensor) -> tf.Tensor:
        """The score."""
        return scores
