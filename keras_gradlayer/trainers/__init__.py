"""The adversarial loop and the algorithms that run in it."""

from keras_gradlayer.trainers.fine_tuner import FineTuner
from keras_gradlayer.trainers.gan import GAN

__all__ = ["GAN", "FineTuner"]
