"""Whether XLA makes a model's programs faster."""

import keras
import tensorflow as tf

from keras_gradlayer import _backend
from keras_gradlayer._nesting import nested_layers

# Matrix products and what surrounds them: many small operations, which XLA fuses. It compiles all
# of these, so that "auto" never stops a fit.
_DENSE = """
    InputLayer Dense EinsumDense Activation ReLU LeakyReLU PReLU ELU Softmax Identity Flatten
    Reshape Permute Rescaling Dropout GaussianNoise BatchNormalization LayerNormalization
    SpectralNormalization Add Subtract Multiply Average Concatenate
"""
# On a CPU these take 3 to 13 times as long under XLA.
_CONVOLUTIONAL = """
    Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose DepthwiseConv1D
    DepthwiseConv2D SeparableConv1D SeparableConv2D UpSampling1D UpSampling2D ZeroPadding2D
    Cropping2D AveragePooling2D MaxPooling2D GlobalAveragePooling2D GlobalMaxPooling2D
"""


def pays(*models: keras.layers.Layer) -> bool:
    """Whether XLA is known to compile these models, and to make them faster on this device.

    That is so for dense networks everywhere, and for convolutional ones on accelerators. Recurrent
    layers, layers of other libraries and functions of `keras.ops` run without XLA.
    """
    accelerated = any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU"))
    names = (_DENSE + _CONVOLUTIONAL if accelerated else _DENSE).split()
    known = {keras.Sequential, *(getattr(keras.layers, name) for name in names)}
    return all(_known(layer, known) for model in models for layer in nested_layers(model))


def _known(layer, known):
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):  # a graph of layers
        return all(isinstance(op, keras.layers.Layer) for op in layer.operations)
    activation = getattr(layer, "activation", None)
    stock = activation is None or activation in vars(keras.activations).values()
    return type(layer) in known and stock


class AutoXLA:
    """For use beside `keras.Model`: `jit_compile` is that of `compile`, else what pays.

    Subclasses name what they compute with in `compiled_parts`.
    """

    def __new__(cls, *args, **kwargs):
        """Refuse other backends, before anything else is looked at."""
        _backend.need_tensorflow(f"A {cls.__name__}")
        return super().__new__(cls, *args, **kwargs)

    _jit: bool | None = None

    @property
    def jit_compile(self) -> bool:
        """Whether programs are compiled by XLA."""
        if self._jit is not None:
            return self._jit
        ours = all(_is_ours(x) for x in self.also_run())
        return ours and pays(*self.compiled_parts())

    @jit_compile.setter
    def jit_compile(self, value):
        self._jit = value

    def also_run(self) -> list:
        """Other objects that the programs run: XLA is known to compile ours."""
        return []

    def compiled_parts(self) -> list[keras.layers.Layer]:
        """The layers and models that the programs run."""
        raise NotImplementedError


def _is_ours(part):
    """Whether an object of the programs is of this package, with no function of a user's."""
    f = getattr(part, "f", None)
    stock = f is None or f.__module__.split(".")[0] in ("keras", "keras_gradlayer", "tensorflow")
    return type(part).__module__.startswith("keras_gradlayer.") and stock


def check_jit(jit_compile: bool | str) -> None:
    """Check that it is a yes, a no, or "auto"."""
    if jit_compile not in (True, False, "auto"):
        raise ValueError(
            f"`jit_compile` must be True, False or 'auto'. Received: jit_compile={jit_compile!r}"
        )
