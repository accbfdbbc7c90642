"""The optimizers and callbacks that trainers work with."""

import math

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._nesting import computes_in, nested_layers


def make_optimizer(
    name: str,
    optimizer: str | keras.optimizers.Optimizer | None,
    model: keras.Model,
    *others: keras.Model,
) -> keras.optimizers.Optimizer:
    """A built optimizer for a model's trainable variables, with loss scaling under float16.

    `others` are what the loss goes through beside the model.
    """
    if optimizer is None:
        optimizer = keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9)
    try:
        made = keras.optimizers.get(optimizer)
    except (TypeError, ValueError) as e:
        raise ValueError(
            f"`{name}` must be a Keras optimizer or its name. Received: {name}={optimizer!r}"
        ) from e
    rate = float(tf.convert_to_tensor(made.learning_rate))
    if not 0 <= rate < math.inf:
        raise ValueError(
            f"`{name}` must have a learning rate that is a positive finite number. "
            f"Received: learning_rate={rate}"
        )
    if not model.trainable_variables:
        raise ValueError(f"'{model.name}' has no trainable variables for `{name}` to train.")
    if made.built:
        raise ValueError(
            f"`{name}` must be an optimizer of its own, that trains nothing else. "
            "Received: one that is already in use."
        )
    half = any(computes_in(m, "float16") for m in (model, *others))
    if half and not isinstance(made, keras.optimizers.LossScaleOptimizer):
        made = keras.optimizers.LossScaleOptimizer(made)
    made.build(model.trainable_variables)
    return made


def check_callbacks(trainer: keras.Model, listed: list[keras.callbacks.Callback]) -> None:
    """Check that Keras' callbacks which act on an optimizer have the one that they act on."""
    for callback in listed:
        _checks.instance_of(
            "callbacks", callback, keras.callbacks.Callback, "a list of Keras callbacks, made ones"
        )
    kinds = (
        keras.callbacks.LearningRateScheduler,
        keras.callbacks.ReduceLROnPlateau,
        keras.callbacks.SwapEMAWeights,
    )
    found = [type(c).__name__ for c in listed if isinstance(c, kinds)]
    if found and trainer.optimizer is None:
        raise ValueError(
            f"{', '.join(found)} acts on the one optimizer of a model, and a "
            f"{type(trainer).__name__} has none or two. Expected which one it is, as in "
            "gan.optimizer = gan.critic_optimizer after compile; or schedules of "
            "keras.optimizers.schedules as the optimizers' learning rates, and their use_ema, "
            "whose averages fit ends with."
        )


def check_together(callbacks: list[keras.callbacks.Callback]) -> None:
    """Check that step callbacks go together."""
    kinds = [type(c) for c in callbacks if c.alone]
    for kind in kinds:
        if (count := kinds.count(kind)) > 1:
            name = kind.__name__
            raise ValueError(f"Expected one {name}. Received: {count}")
    for a in callbacks:
        for b in callbacks:
            if any(cls.__name__ in a.excludes for cls in type(b).__mro__):
                raise ValueError(
                    f"{type(a).__name__} and {type(b).__name__} do the same in different ways. "
                    "Expected one of them. Received: both"
                )
    makers = [type(c).__name__ for c in callbacks if c.generates]
    if len(makers) > 1:
        raise ValueError(
            f"Expected one callback that makes the samples. Received: {', '.join(makers)}"
        )


def is_held(trainer: keras.Model) -> bool:
    """Whether a callback, a constraint or spectral normalization bounds a trainer's critic."""
    return (
        any(c.restrains for c in trainer.loop.callbacks)
        or any(v.constraint for v in trainer.critic.trainable_variables)
        or any(
            isinstance(layer, keras.layers.SpectralNormalization)
            for layer in nested_layers(trainer.critic)
        )
    )
