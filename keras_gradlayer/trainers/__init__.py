"""The adversarial loop and the algorithms that run in it."""

from keras_gradlayer.trainers.dualing_gan import DualingGAN
from keras_gradlayer.trainers.fine_tuner import FineTuner
from keras_gradlayer.trainers.gan import GAN
from keras_gradlayer.trainers.places import best_insert
from keras_gradlayer.trainers.refine import refine
from keras_gradlayer.trainers.unrolled_gan import UnrolledGAN

__all__ = ["GAN", "DualingGAN", "FineTuner", "UnrolledGAN", "best_insert", "refine"]
