"""Updates of a model that are taken, differentiated through and forgotten."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

_FOLLOWED = (keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.RMSprop)
_NOT_FOLLOWED = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "gradient_accumulation_steps",
    "ema_overwrite_frequency",
)


class Lookahead(keras.StatelessScope):
    """A scope in which a model is updated as in `fit`, with gradients through the updates.

    Whatever is assigned in it (weights, optimizer state, batch statistics, seeds) stays in it. A
    layer may assign to its own weights in the forward pass, as spectral normalization does; then
    an update takes the gradient at the assigned value and not through the assignment. The scope
    does the same, while gradients through the whole update do pass through the assignment.

    Args:
        variables: the variables to update.
        optimizer: built optimizer of these and perhaps other variables.
        step_size: size of plain gradient steps instead of the optimizer's own.

    Raises:
        ValueError: if there is no `step_size` and the optimizer cannot be followed.
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        step_size: float | None = None,
    ):
        super().__init__()
        self._variables, self._step_size = variables, step_size
        self._scale = optimizer.scale_loss  # the identity, but for float16
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if step_size is None:
            _check_followed(self._optimizer)
        self._targets = [v.value for v in variables]  # read outside the scope
        self._tape: tf.GradientTape | None = None
        self._leaves: dict[int, list] = {}

    def step(self, loss: Callable[[], tf.Tensor]) -> None:
        """One update down `loss`."""
        self._leaves = {id(v): [] for v in self._variables}
        with tf.GradientTape() as tape:
            self._tape = tape
            for v in self._variables:
                v.assign(v)
            value = self._scale(loss())
        self._tape = None
        gradients = tape.gradient(value, list(self._leaves.values()))
        rate, update_step = self._optimizer.learning_rate, type(self._optimizer).update_step
        for v, target, parts in zip(self._variables, self._targets, gradients, strict=True):
            parts = [g for g in parts if g is not None]
            if not parts:  # Keras leaves such a variable and its momentum alone
                continue
            gradient = tf.add_n(parts)
            gradient = _without_nan(gradient / self._scale(tf.ones((), gradient.dtype)))
            if self._step_size is None:
                update_step(_Assigning(self._optimizer, target, v), gradient, target, rate)
            else:
                v.assign(v - self._step_size * gradient)
            if v.constraint is not None:
                v.assign(v.constraint(v))
        self._optimizer.iterations.assign_add(1)

    def add_update(self, update: tuple[keras.Variable, tf.Tensor]) -> None:
        """Hold back an assignment; Keras calls it."""
        variable, value = update
        if self._tape is not None and id(variable) in self._leaves:
            with self._tape.stop_recording():
                value = tf.identity(value)
            self._tape.watch(value)
            self._leaves[id(variable)].append(value)
        super().add_update((variable, value))


class _Assigning:
    """An optimizer whose `update_step` for one variable assigns in a `keras.StatelessScope`.

    On TensorFlow, Keras' optimizers know a variable by its `tf.Variable`, the target, and assign
    to `tf.Variable`s past any scope.
    """

    def __init__(self, optimizer, target, variable):
        self._optimizer, self._target, self._variable = optimizer, target, variable

    def __getattr__(self, name):
        return getattr(self._optimizer, name)

    def assign(self, variable, value):
        (self._variable if variable is self._target else variable).assign(value)

    def assign_add(self, variable, value):
        self.assign(variable, (self._variable if variable is self._target else variable) + value)

    def assign_sub(self, variable, value):
        self.assign_add(variable, -value)


@tf.custom_gradient
def _without_nan(x):
    """The identity; a derivative that does not exist, such as Adam's at 0 / (√0 + ε), is 0."""
    return tf.identity(x), lambda d: tf.where(tf.math.is_finite(d), d, tf.zeros_like(d))


def _check_followed(optimizer):
    known = type(optimizer) in _FOLLOWED
    given = [name for name in _NOT_FOLLOWED if known and getattr(optimizer, name, None)]
    if not known or given:
        received = type(optimizer).__name__ + (f" with {', '.join(given)}" if given else "")
        raise ValueError(
            "UnrolledGAN looks ahead through the critic's own optimizer. Expected "
            "keras.optimizers.SGD, Adam or RMSprop without clipping, weight decay and gradient "
            "accumulation, or UnrolledGAN(..., step_size=...) for plain gradient steps. "
            f"Received: {received}"
        )
