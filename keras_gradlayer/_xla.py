"""Whether XLA makes a model's programs faster."""

import keras
import tensorflow as tf
from keras import layers

from keras_gradlayer._nesting import nested_layers

# Matrix products and what goes round them: many small operations, which XLA makes one of. It
# compiles all of these, so that "auto" never stops a fit.
_ANYWHERE = (
    keras.Sequential,
    layers.InputLayer,
    layers.Dense,
    layers.EinsumDense,
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
    layers.Softmax,
    layers.Identity,
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.Rescaling,
    layers.Dropout,
    layers.GaussianNoise,
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.SpectralNormalization,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Concatenate,
)
# On a CPU these take 3 to 13 times as long under XLA.
_ON_ACCELERATORS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.AveragePooling2D,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
)


def pays(*models: keras.layers.Layer) -> bool:
    """Whether XLA is known to compile these models, and to make them faster on this device.

    That is so for dense networks everywhere, and for convolutional ones on accelerators. Recurrent
    layers, layers of other libraries and functions of `keras.ops` run without XLA.
    """
    known = _ANYWHERE
    if tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"):
        known += _ON_ACCELERATORS
    return all(_known(layer, known) for model in models for layer in nested_layers(model))


def _known(layer, known):
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):  # a graph of layers
        return all(isinstance(op, layers.Layer) for op in layer.operations)
    return type(layer) in known


class AutoXLA:
    """For use beside `keras.Model`: `jit_compile` is that of `compile`, else what pays.

    Subclasses name what they compute with in `compiled_parts`.
    """

    _jit = None

    @property
    def jit_compile(self) -> bool:
        """Whether programs are compiled by XLA."""
        return pays(*self.compiled_parts()) if self._jit is None else self._jit

    @jit_compile.setter
    def jit_compile(self, value):
        self._jit = value

    def compiled_parts(self) -> list[keras.layers.Layer]:
        """The layers and models that the programs run."""
        raise NotImplementedError


def check_jit(jit_compile: bool | str) -> None:
    """Check that it is a yes, a no, or "auto"."""
    if jit_compile not in (True, False, "auto"):
        raise ValueError(
            f"`jit_compile` must be True, False or 'auto'. Received: jit_compile={jit_compile!r}"
        )
