"""Gradient layers: plain Keras layers, usable in any model."""

from keras_gradlayer.layers.compressed_stack import CompressedStack
from keras_gradlayer.layers.gradient_layer import GradientLayer
from keras_gradlayer.layers.gradient_layer_stack import GradientLayerStack

__all__ = ["CompressedStack", "GradientLayer", "GradientLayerStack"]
