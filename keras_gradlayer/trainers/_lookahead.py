"""Optimizer steps as functions, with gradients through them."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

_NEUTRAL = {
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "gradient_accumulation_steps": None,
    "amsgrad": False,
    "nesterov": False,
}


def optimizer_steps(optimizer: keras.optimizers.Optimizer) -> Callable:
    """What an optimizer would do next, as a function that gradients flow through.

    The function goes on from where the optimizer stands and leaves it there; each call is its
    next step.

    Args:
        optimizer: built `keras.optimizers.SGD` or `Adam`.

    Returns:
        (values, gradients) -> new values, lists of tensors in the order of the variables that the
        optimizer was built for; `None` for a gradient is zero.

    Raises:
        ValueError: for other optimizers, and for settings that are not followed.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # past loss scaling
    kinds = {keras.optimizers.SGD: _SGD, keras.optimizers.Adam: _Adam}
    known = type(optimizer) in kinds
    given = [n for n, v in _NEUTRAL.items() if known and getattr(optimizer, n, v) != v]
    if not known or given:
        received = type(optimizer).__name__ + (f" with {', '.join(given)}" if given else "")
        raise ValueError(
            "UnrolledGAN looks ahead through the critic's own optimizer. Expected "
            "keras.optimizers.SGD or Adam without clipping, weight decay and variants, or a "
            f"`step_size` of plain gradient steps. Received: {received}"
        )
    return kinds[type(optimizer)](optimizer)


def gradient_steps(step_size: float) -> Callable:
    """Plain gradient descent, in the form of `optimizer_steps`."""

    def step(values, gradients):
        return [v - step_size * g for v, g in zip(values, _filled(gradients, values))]

    return step


class _SGD:
    def __init__(self, optimizer):
        self.rate, self.momentum = optimizer.learning_rate, optimizer.momentum
        self.velocities = [tf.convert_to_tensor(m) for m in getattr(optimizer, "momentums", [])]

    def __call__(self, values: Sequence, gradients: Sequence) -> list[tf.Tensor]:
        gradients = _filled(gradients, values)
        moves = [-tf.cast(self.rate, g.dtype) * g for g in gradients]
        if self.momentum:
            moves = [self.momentum * m + d for m, d in zip(self.velocities, moves)]
            self.velocities = moves
        return [v + d for v, d in zip(values, moves)]


class _Adam:
    """Kingma & Ba, "Adam", ICLR 2015, the efficient order at the end of section 2, as in Keras."""

    def __init__(self, optimizer):
        self.rate, self.epsilon = optimizer.learning_rate, optimizer.epsilon
        self.beta_1, self.beta_2 = optimizer.beta_1, optimizer.beta_2
        self.t = tf.cast(optimizer.iterations, "float32")
        self.m = [tf.convert_to_tensor(m) for m in optimizer._momentums]
        self.v = [tf.convert_to_tensor(v) for v in optimizer._velocities]

    def __call__(self, values: Sequence, gradients: Sequence) -> list[tf.Tensor]:
        gradients = _filled(gradients, values)
        self.t += 1
        alpha = self.rate * tf.sqrt(1 - self.beta_2**self.t) / (1 - self.beta_1**self.t)
        self.m = [m + (1 - self.beta_1) * (g - m) for m, g in zip(self.m, gradients)]
        self.v = [v + (1 - self.beta_2) * (g * g - v) for v, g in zip(self.v, gradients)]
        return [
            x - tf.cast(alpha, x.dtype) * m / (_root(v) + self.epsilon)
            for x, m, v in zip(values, self.m, self.v)
        ]


def _root(v):
    """The square root, with a gradient of zero at zero."""
    positive = v > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, v, 1.0)), 0.0)


def _filled(gradients, values):
    return [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, values, strict=True)]
