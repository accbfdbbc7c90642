"""How often the critic trains before the generator moves."""

from keras_gradlayer import _checks
from keras_gradlayer.callbacks.step_callback import StepCallback


class CriticInnerLoop(StepCallback):
    """Critic updates before each generator move, wherever epochs fall.

    Without it a `GAN` moves after each update and a `FineTuner` after each pass over the data.

    Source: Algorithms 1 of Gulrajani et al. (2017), n_critic, and Nitanda & Suzuki (2018), T0.

    Args:
        steps: how many, an integer of at least 1. One batch of the data is one update.

    Raises:
        ValueError: if `steps` is no such integer, or a fit has two of these callbacks.

    Example:
        >>> callbacks = [CriticInnerLoop(steps=5)]
    """

    def __init__(self, steps: int):
        super().__init__()
        self.critic_steps = _checks.positive_int("steps", steps, most=2**31 - 1)
