"""One-sided label smoothing."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.callbacks.step_callback import StepCallback
from keras_gradlayer.objectives import Minimax


class LabelSmoothing(StepCallback):
    """Gives real samples the label 1 − amount in the critic's cross entropy, generated ones 0.

    Unbounded scores then no longer pay. Use it with the objectives whose critic descends a cross
    entropy. Since log(1 − sigmoid(t)) = log sigmoid(t) − t, smoothing is one more
    term in what the critic descends,

        −(1 − a) log σ(t) − a log(1 − σ(t)) = −log σ(t) + a t,

    and `amount * E f(x)` over real samples is what this adds. It is part of the log `penalty`, and
    may be negative.

    Source: Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, section 3.4.

    Args:
        amount: a, a fraction from 0 to 1.

    Raises:
        ValueError: if `amount` is out of range, or the trainer's objective is another than
            `"minimax"`, `"non_saturating"` or `"kl"`.

    Example:
        >>> callbacks = [LabelSmoothing(0.1)]
    """

    def __init__(self, amount: float = 0.1):
        super().__init__()
        self.amount = _checks.fraction("amount", amount)

    def set_model(self, model: keras.Model) -> None:
        """Join the trainer's step, if its critic descends a cross entropy."""
        objective = getattr(model, "objective", None)
        if objective is not None and not isinstance(objective, Minimax):
            raise ValueError(
                "LabelSmoothing smooths the labels of a cross entropy. Expected objective="
                "'minimax', 'non_saturating' or 'kl'. Received: "
                f"{objective.name or type(objective).__name__}"
            )
        super().set_model(model)

    def score_loss(self, real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
        """The weighted mean score, a scalar."""
        return self.amount * tf.reduce_mean(real_scores)
