"""The minimax objective with the −log D alternative for the generator."""

import keras

from keras_gradlayer.objectives.minimax import Minimax


@keras.saving.register_keras_serializable("keras_gradlayer")
class NonSaturating(Minimax):
    """The critic's V is that of `Minimax`; the generator ascends E log D(g(z)), φ = log sigmoid.

    Its gradient does not vanish where the critic rejects the samples.

    Source: Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 3.

    Example:
        >>> round(float(NonSaturating().potential(keras.ops.zeros(()))), 3)  # log ½
        -0.693
    """

    name = "non_saturating"

    potential = staticmethod(keras.ops.log_sigmoid)
