"""Weights that an optimizer averages (`use_ema`)."""

import keras


class Averaging(keras.callbacks.Callback):
    """Ends a fit with the weights that a trainer's optimizers have averaged (`use_ema`).

    It comes first, so that `EarlyStopping` restores what it will after it. Where an
    optimizer has taken no step there are no averages, and the weights stay as they were.
    """

    def __init__(self, trainer: keras.Model):
        super().__init__()
        self._ended = trainer.optimizer  # by Keras
        self._parts = []
        for part in ("generator", "critic"):
            if (optimizer := getattr(trainer, f"{part}_optimizer", None)) is not None:
                variables = getattr(trainer, part).trainable_variables
                untouched = averages(optimizer) and not optimizer.iterations.numpy()
                values = [v.numpy() for v in variables] if untouched else ()
                self._parts.append((optimizer, variables, values))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Put the averages in place."""
        for optimizer, variables, values in self._parts:
            if optimizer is not self._ended:
                optimizer.finalize_variable_values(variables)
            if not optimizer.iterations.numpy():
                for v, value in zip(variables, values):
                    v.assign(value)


def averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether it averages the weights that it trains."""
    return getattr(optimizer, "inner_optimizer", optimizer).use_ema


def reset_averages(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]) -> None:
    """Begin an optimizer's averages of the weights that it trains anew, from present values."""
    found = [v for v in optimizer.variables if v.name.endswith("_average")]
    for average, value in zip(found, variables, strict=True):
        average.assign(value)
