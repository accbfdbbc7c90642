"""Optimizer steps as functions, with gradients through them."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

_NOT_FOLLOWED = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "gradient_accumulation_steps",
    "ema_overwrite_frequency",
    "amsgrad",
    "nesterov",
)


def optimizer_steps(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> Callable:
    """What an optimizer would do next, as a function that gradients flow through.

    The function goes on from where the optimizer stands and leaves it there; each call is its
    next step.

    Args:
        optimizer: built `keras.optimizers.SGD` or `Adam`.
        variables: the ones to step, among those that the optimizer was built for.

    Returns:
        (values, gradients) -> new values, lists of tensors in the order of `variables`; `None`
        for a gradient is zero.

    Raises:
        ValueError: for other optimizers, and for settings that are not followed.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # past loss scaling
    kinds = {keras.optimizers.SGD: _SGD, keras.optimizers.Adam: _Adam}
    known = type(optimizer) in kinds
    given = [name for name in _NOT_FOLLOWED if known and getattr(optimizer, name, None)]
    if not known or given:
        received = type(optimizer).__name__ + (f" with {', '.join(given)}" if given else "")
        raise ValueError(
            "UnrolledGAN looks ahead through the critic's own optimizer. Expected "
            "keras.optimizers.SGD or Adam without clipping, weight decay, amsgrad and nesterov, "
            f"or UnrolledGAN(..., step_size=...) for plain gradient steps. Received: {received}"
        )
    return kinds[type(optimizer)](optimizer, variables)


def gradient_steps(step_size: float) -> Callable:
    """Plain gradient descent, in the form of `optimizer_steps`."""

    def step(values, gradients):
        return [v - step_size * g for v, g in zip(values, _filled(gradients, values))]

    return step


class _Steps:
    def __init__(self, optimizer, variables):
        self.optimizer = optimizer
        self.iterations = tf.convert_to_tensor(optimizer.iterations)
        self.indices = [optimizer._get_variable_index(v) for v in variables]

    def slots(self, name):
        slots = getattr(self.optimizer, name)
        return [tf.convert_to_tensor(slots[i]) for i in self.indices]

    def rate(self):
        """The learning rate of the next step."""
        rate = self.optimizer._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return tf.cast(rate(self.iterations), "float32")
        return tf.cast(self.optimizer.learning_rate, "float32")


class _SGD(_Steps):
    def __init__(self, optimizer, variables):
        super().__init__(optimizer, variables)
        self.momentum = optimizer.momentum
        self.velocities = self.slots("momentums") if self.momentum else []

    def __call__(self, values: Sequence, gradients: Sequence) -> list[tf.Tensor]:
        moves = [-tf.cast(self.rate(), g.dtype) * g for g in _filled(gradients, values)]
        if self.momentum:
            moves = [self.momentum * m + d for m, d in zip(self.velocities, moves, strict=True)]
            self.velocities = moves
        self.iterations += 1
        return [v + d for v, d in zip(values, moves, strict=True)]


class _Adam(_Steps):
    """Kingma & Ba, "Adam", ICLR 2015, the efficient order at the end of section 2, as in Keras."""

    def __init__(self, optimizer, variables):
        super().__init__(optimizer, variables)
        self.epsilon = optimizer.epsilon
        self.beta_1, self.beta_2 = optimizer.beta_1, optimizer.beta_2
        self.m, self.v = self.slots("_momentums"), self.slots("_velocities")

    def __call__(self, values: Sequence, gradients: Sequence) -> list[tf.Tensor]:
        gradients, rate = _filled(gradients, values), self.rate()
        self.iterations += 1
        t = tf.cast(self.iterations, "float32")
        alpha = rate * tf.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        self.m = [m + (1 - self.beta_1) * (g - m) for m, g in zip(self.m, gradients, strict=True)]
        self.v = [v + (1 - self.beta_2) * (g * g - v) for v, g in zip(self.v, gradients)]
        return [
            x - tf.cast(alpha, x.dtype) * m / (_root(v) + self.epsilon)
            for x, m, v in zip(values, self.m, self.v, strict=True)
        ]


def _root(v):
    """The square root, with a gradient of zero at zero."""
    positive = v > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, v, 1.0)), 0.0)


def _filled(gradients, values):
    return [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, values, strict=True)]
