"""A sampler as plain operations, for runtimes that have neither gradients nor loops."""

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._conditions import call
from keras_gradlayer.layers.frozen_parts import variables_of
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.serving.signatures import finished


def unroll(model: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """A function of the latent alone that converters for other runtimes take.

    Use it for ONNX (tf2onnx) and LiteRT, which know no gradients of activations, and no random
    numbers as an export has them. The layers stand one after the other, with their critics as
    constants, so that its size grows with the depth: for few layers. For TensorFlow Serving there
    is `export_sampler`.

    The gradients of `relu`, `leaky_relu`, `elu`, `tanh`, `sigmoid` and `softplus` are written with
    products and comparisons. What else a critic is made of must have a gradient that the runtime
    knows: convolutions do, pooling does not.

    Args:
        model: a `FineTuner` or `Sampler`, without conditions, temperature or penalty.

    Returns:
        A `tf.function` of latents (batch, *latent.shape), float32, that gives samples.

    Raises:
        TypeError: for another model.
        ValueError: for a conditional sampler, or a stack with a temperature or penalty.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> tuner = kgl.FineTuner(None, critic, 0.1, max_layers=2)
        >>> tuner.stack.append()
        >>> f = unroll(tuner)
        >>> np.allclose(f(np.ones((3, 2), "float32")), tuner.sampler()(np.ones((3, 2))), atol=1e-6)
        True
    """
    sampler = finished(model)
    _checks.instance_of("model", sampler, Sampler, "a FineTuner or a Sampler")
    stack = sampler.stack
    if sampler.condition_spec is not None or stack.temperature or stack.penalty is not None:
        raise ValueError(
            "A sampler is unrolled as a function of the latent alone. Expected one without "
            f"conditions, temperature or penalty. Received: condition={sampler.condition_spec}, "
            f"temperature={stack.temperature}, penalty={stack.penalty}"
        )
    layers = [[np.asarray(v) for v in stack.critic_values(k)] for k in range(sampler.depth)]
    step_sizes = sampler.step_sizes / stack.steps_per_layer

    def gradient(x, values):
        constants = [tf.constant(v) for v in values]
        own = list(zip(variables_of(stack.potential), constants, strict=True))
        graph = tf.compat.v1.get_default_graph()
        with keras.StatelessScope(state_mapping=own), graph.gradient_override_map(_PLAIN):
            height = stack.climbed(x)
        return tf.gradients(height, x)[0]

    @tf.function(
        input_signature=[tf.TensorSpec((None, *sampler.latent.shape), "float32", "latent")],
        autograph=False,
    )
    def sample(latent):
        x = tf.cast(call(sampler.base, latent, training=False), stack.variable_dtype)
        for values, step_size in zip(layers, step_sizes, strict=True):
            for _ in range(stack.steps_per_layer):
                x += tf.cast(step_size, x.dtype) * gradient(x, values)
        return call(sampler.head, tf.cast(x, stack.compute_dtype), training=False)

    return sample


def _conv2d(op, dy):
    """As TensorFlow has it, but with the operation Shape in the place of ShapeN."""
    text = {name: op.get_attr(name).decode() for name in ("padding", "data_format")}
    numbers = {n: op.get_attr(n) for n in ("strides", "dilations", "explicit_paddings")}
    x, kernel = op.inputs
    sizes = tf.shape(x)
    dx = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=sizes, filter=kernel, out_backprop=dy, **text, **numbers
    )
    return dx, None  # kernels are constants


def _where(condition, above, below, dy):
    positive = tf.cast(condition, dy.dtype)
    return dy * (above * positive + below * (1 - positive))


_GRADIENTS = {  # by TensorFlow's name of the operation
    "Relu": lambda op, dy: _where(op.inputs[0] > 0, 1, 0, dy),
    "LeakyRelu": lambda op, dy: _where(op.inputs[0] > 0, 1, op.get_attr("alpha"), dy),
    "Elu": lambda op, dy: _where(op.inputs[0] > 0, 1, op.outputs[0] + 1, dy),
    "Tanh": lambda op, dy: dy * (1 - op.outputs[0] * op.outputs[0]),
    "Sigmoid": lambda op, dy: dy * op.outputs[0] * (1 - op.outputs[0]),
    "Conv2D": _conv2d,
    "Softplus": lambda op, dy: dy * tf.sigmoid(op.inputs[0]),
}
_PLAIN = {name: f"KerasGradlayerPlain{name}" for name in _GRADIENTS}
for _name, _rule in _GRADIENTS.items():
    tf.RegisterGradient(_PLAIN[_name])(_rule)
