"""The optimizers that trainers are compiled with."""

import keras

from keras_gradlayer._nesting import computes_in


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
    optimizer = keras.optimizers.get(optimizer)
    if not model.trainable_variables:
        raise ValueError(f"'{model.name}' has no trainable variables for `{name}` to train.")
    if optimizer.built:
        raise ValueError(
            f"`{name}` must be an optimizer of its own, that trains nothing else. "
            "Received: one that is already in use."
        )
    half = any(computes_in(m, "float16") for m in (model, *others))
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer


def averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether it averages the weights that it trains."""
    return getattr(optimizer, "inner_optimizer", optimizer).use_ema


def reset_averages(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]) -> None:
    """Begin an optimizer's averages of the weights that it trains anew, from present values."""
    found = [v for v in optimizer.variables if v.name.endswith("_average")]
    for average, value in zip(found, variables, strict=True):
        average.assign(value)


def check_callbacks(trainer: keras.Model, listed: list[keras.callbacks.Callback]) -> None:
    """Check that Keras' callbacks which act on an optimizer have the one that they act on."""
    kinds = (
        keras.callbacks.LearningRateScheduler,
        keras.callbacks.ReduceLROnPlateau,
        keras.callbacks.SwapEMAWeights,
    )
    found = [type(c).__name__ for c in listed if isinstance(c, kinds)]
    if found and trainer.optimizer is None:
        raise ValueError(
            f"{', '.join(found)} acts on the one optimizer of a model, and a "
            f"{type(trainer).__name__} has none or two. Expected schedules of "
            "keras.optimizers.schedules as the optimizers' learning rates, and their use_ema, "
            "whose averages fit ends with."
        )
