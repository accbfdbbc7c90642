"""Latent distributions: serializable and stateless."""

from keras_gradlayer.latents.gaussian import Gaussian
from keras_gradlayer.latents.uniform import Uniform

__all__ = ["Gaussian", "Uniform"]
