"""One gradient layer, Eq. (1)."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from keras_gradlayer import _backend, _checks
from keras_gradlayer._conditions import call, spec_of
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer.layers._steps import follow
from keras_gradlayer.layers.frozen_parts import FrozenParts


def _scores(potential, x, condition=None):
    """Scores in inference mode; a plain callable has no other mode."""
    mode = {"training": False} if isinstance(potential, keras.layers.Layer) else {}
    return call(potential, x, condition, **mode)


@keras.saving.register_keras_serializable("keras_gradlayer")
class GradientLayer(FrozenParts):
    """Moves every sample one step up the gradient of a potential: `x + step_size * ∇f(x)`.

    Use it wherever a trained scalar function says in which direction samples get better: after a
    generator with its critic, or inside any other model. For a whole history of critics use
    `GradientLayerStack`, and to make one by training, `FineTuner`.

    Source: Nitanda & Suzuki, "Gradient Layer: Enhancing the Convergence of Adversarial Training
    for Generative Models", AISTATS 2018, Eq. (1), with g1 inside the potential.

    The gradient is per sample: it is the gradient of the sum of the scores over the batch, with
    the potential in inference mode, so a row's output does not depend on the other rows. The
    potential stays the object that was handed over: training it elsewhere changes the step taken
    here. (A model that is loaded or cloned has a potential of its own, equal to the original.) The
    layer owns nothing trainable: it lists the potential's variables among its non-trainable
    weights, and saves them. Gradients flow through the layer to what lies below it, with the
    potential's second derivatives.

    With a temperature γ it is a step of Langevin dynamics, `x + η ∇f(x) + sqrt(2ηγ) ξ` with
    standard normal ξ; small steps lead to samples of the density ∝ exp(f(x)/γ). The noise of a
    row follows from its seed, or else from its own entries, and from nothing else: equal rows get
    equal noise, and the layer remains a function, in any batch, program, file or server. (Rounding
    that moves an entry gives another noise, of the same distribution; with `seeds` it does not.)

    The sum is formed in the layer's variable dtype (float32 under the mixed policies) and given
    out in its compute dtype.

    Args:
        potential: the scalar function f: any Keras model or layer, or a callable registered with
            `keras.saving.register_keras_serializable`, mapping a batch to scores of shape
            (batch,) or (batch, 1). A conditional one maps [x, condition].
        step_size: η, a positive finite number, in units of the input per unit of gradient.
        temperature: γ, a finite number of at least 0, in units of the potential.
        **kwargs: the arguments of every Keras layer (`name`, `dtype`).

    Call arguments:
        x: tensor of shape (batch, ...), any rank of at least 2.
        condition: what a conditional potential takes besides, (batch, ...).
        seeds: of the noise, integers of shape (batch,); by default made of the entries of `x`.
            Layers in a row need seeds of their own.

    Input shape: (batch, ...). Output shape: the same.

    Raises:
        ValueError: if `step_size` or `temperature` is out of range, or the potential does not take
            the input, does not give one score a sample, or gives scores that do not depend on it.
        TypeError: if the potential is not callable.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> layer = GradientLayer(critic, step_size=0.1)
        >>> moved = layer(keras.ops.zeros((3, 2)))  # a shift by 0.1 times the critic's weights
    """

    _PARTS = ("potential",)
    _SETTINGS = ("step_size", "temperature")

    def __init__(
        self,
        potential: keras.layers.Layer | Callable,
        step_size: float,
        temperature: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _require_callable(potential)
        self.step_size = _checks.positive_number("step_size", step_size)
        self.temperature = _temperature(temperature)
        self._hold(potential=potential)

    def build(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> None:
        """Build the potential and check that it fits the input."""
        given = x_shape[1:], self.variable_dtype, condition_tensor(self.potential, condition_shape)
        _checks.scores_shape("potential", self.potential, *given)
        _checks.depends_on_input("potential", self._potential, *given)
        self._make_twins()

    def _potential(self, x, condition=None):
        return _scores(self.potential, x, condition)

    def call(
        self,
        x: tf.Tensor,
        condition: tf.Tensor | None = None,
        seeds: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Take one step along the potential's gradient."""
        x = ops.cast(x, self.variable_dtype)

        def gradient(x):
            return input_gradient(lambda x: self._potential(x, condition), x)

        moved, _ = follow(gradient, x, self.step_size, 1, self.temperature, seeds)
        return ops.cast(moved, self.compute_dtype)

    def compute_output_spec(self, x: keras.KerasTensor, *args, **kwargs) -> keras.KerasTensor:
        """The input's shape, in the compute dtype."""
        return keras.KerasTensor(x.shape, self.compute_dtype)


def condition_tensor(part: keras.layers.Layer | Callable, shape) -> keras.KerasTensor | None:
    """A condition of this shape, of the dtype that the part takes; `None` for no shape."""
    spec = spec_of(part)
    dtype = "float32" if spec is None else spec.dtype
    return None if shape is None else keras.KerasTensor(shape, dtype)


def _temperature(value):
    value = _checks.positive_number("temperature", value, zero_ok=True)
    if value:
        _backend.need_tensorflow("`temperature`")
    return value


def _require_callable(part, name="potential"):
    _checks.instance_of(name, part, Callable, "a Keras model or layer, or a callable")
