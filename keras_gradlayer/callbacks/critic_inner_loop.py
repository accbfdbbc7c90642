"""How often the critic trains before the generator moves."""

from keras_gradlayer import _checks
from keras_gradlayer.callbacks.step_callback import StepCallback


class CriticInnerLoop(StepCallback):
    """Critic updates before each generator move, wherever epochs fall.

    Without it a `GAN` moves after each update and a `FineTuner` after each pass over the data.

    Source: n_critic of Gulrajani et al. (2017), Algorithm 1; T0 of Nitanda & Suzuki (2018),
    Algorithm 1.

    Args:
        steps: how many, an integer of at least 1. One batch of the data is one update.

    Raises:
        ValueError: if `steps` is no such integer, or a fit has two of these callbacks.

    Example:

    >>> callbacks = [CriticInnerLoop(steps=5)]
    """

    def __init__(self, steps: int):
        super().__init__()
        self.critic_steps = _checks.positive_int("steps", steps)
