"""Training data: the paper's toys, and images through TensorFlow Datasets."""

from keras_gradlayer.data.images import cifar10, image_folder, mnist, stacked_mnist, stl10
from keras_gradlayer.data.toy import (
    EIGHT_GAUSSIANS,
    TWENTY_FIVE_GAUSSIANS,
    GaussianMixture,
    eight_gaussians,
    swiss_roll,
    twenty_five_gaussians,
)

__all__ = [
    "EIGHT_GAUSSIANS",
    "TWENTY_FIVE_GAUSSIANS",
    "GaussianMixture",
    "cifar10",
    "eight_gaussians",
    "image_folder",
    "mnist",
    "stacked_mnist",
    "stl10",
    "swiss_roll",
    "twenty_five_gaussians",
]
