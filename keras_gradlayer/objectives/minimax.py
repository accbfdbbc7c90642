"""The original objective of GANs."""

import keras

from keras_gradlayer.objectives.objective import Objective


@keras.saving.register_keras_serializable("keras_gradlayer")
class Minimax(Objective):
    """V = E log D(x) + E log(1 − D(g(z))), with D the sigmoid of the critic's score.

    The scores are logits: the critic ends without a sigmoid, and the logarithms do not overflow.
    The generator ascends E φ(D) with φ = softplus, −log(1 − sigmoid). For the best critic that is
    the descent of the Jensen-Shannon divergence.

    Source: Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, Eq. (1).

    Example:
        >>> unsure = keras.ops.zeros(1)
        >>> round(float(Minimax().value(unsure, unsure)), 3)  # −2 log 2
        -1.386
    """

    name = "minimax"
    f = staticmethod(keras.ops.log_sigmoid)
