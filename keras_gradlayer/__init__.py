"""Gradient layers for Keras GANs: from a GAN that stopped improving to a better sampler."""

from keras_gradlayer import (
    callbacks,
    data,
    latents,
    layers,
    metrics,
    models,
    objectives,
    pictures,
    presets,
    rivals,
    serving,
    step_rules,
)
from keras_gradlayer._version import __version__
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.trainers import GAN, DualingGAN, FineTuner, UnrolledGAN, best_insert, refine

__all__ = [
    "GAN",
    "DualingGAN",
    "FineTuner",
    "Latent",
    "Sampler",
    "UnrolledGAN",
    "best_insert",
    "callbacks",
    "data",
    "latents",
    "layers",
    "metrics",
    "models",
    "objectives",
    "pictures",
    "presets",
    "refine",
    "rivals",
    "serving",
    "step_rules",
    "__version__",
]
