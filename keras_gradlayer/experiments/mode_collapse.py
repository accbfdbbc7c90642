"""Eight narrow Gaussians, and how many of them a GAN covers: plain, regularised, unrolled.

The plain GAN falls from mode to mode. The gradient regulariser and unrolling both make the
generator avoid samples where the critic can still gain.

Source: Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS 2017,
Figure 1; the models and settings are those of its published code. Metz et al., "Unrolled
Generative Adversarial Networks", ICLR 2017.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_gradlayer.callbacks import GeneratorGradientRegularizer
from keras_gradlayer.data import GaussianMixture
from keras_gradlayer.metrics import ModeCoverage, mode_coverage
from keras_gradlayer.pictures import point_panels
from keras_gradlayer.trainers import GAN, UnrolledGAN

_ANGLES = np.arange(8) * np.pi / 4
MIXTURE = GaussianMixture(2 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), 0.02)
METHODS = {"plain": "GAN", "regularised": "regularised, η = 0.5", "unrolled": "unrolled, 10 steps"}
_BATCH, _LATENT, _RATE = 512, 256, 1e-4


def train(method: str, iterations: int, every: int) -> list[np.ndarray]:
    """Train one GAN of `METHODS`, both players once an iteration.

    Returns:
        Arrays of 2,000 samples, shape (2000, 2): before, and after each `every` iterations.
    """
    init = keras.initializers.Orthogonal(0.8)
    dense = functools.partial(keras.layers.Dense, kernel_initializer=init)
    hidden = [dense(128, "relu") for _ in range(2)]
    generator = keras.Sequential([keras.layers.Input((_LATENT,)), *hidden, dense(2)])
    scale = keras.layers.Rescaling(0.25)
    critic = keras.Sequential([keras.layers.Input((2,)), scale, dense(128, "relu"), dense(1)])
    if method == "unrolled":
        gan = UnrolledGAN(generator, critic, steps=10, objective="minimax")
    else:
        gan = GAN(generator, critic, "minimax")
    adam = functools.partial(keras.optimizers.Adam, _RATE, 0.5, 0.999, epsilon=1e-8)
    gan.compile(generator_optimizer=adam(), critic_optimizer=adam())
    callbacks = [GeneratorGradientRegularizer(0.5)] if method == "regularised" else []
    data, latents = _data(), gan.latent.sample(2000, seed=0)
    found = [gan.predict(latents, batch_size=2000, verbose=0)]
    for _ in tqdm(range(iterations // every), desc=method):
        gan.fit(data, steps_per_epoch=every, callbacks=callbacks, verbose=0)
        found.append(gan.predict(latents, batch_size=2000, verbose=0))
    return found


def coverage(samples: np.ndarray) -> ModeCoverage:
    """How the samples spread over the eight modes, each a circle of ten standard deviations."""
    return mode_coverage(samples, *MIXTURE, radius=10.0)


def run(path):
    """Plot the samples of the three methods during training, into a PNG file."""
    every, shown = 2000, (0, 1, 2, 5, 10)
    rows = {}
    for method, title in METHODS.items():
        found = train(method, every * shown[-1], every)
        modes = [coverage(samples).modes for samples in found]
        rows[title] = [(f"{i * every:,} iterations: {modes[i]} of 8", found[i]) for i in shown]
    point_panels(path, rows, 3.0, MIXTURE.centers)


def _data():
    """Batches of fresh points, 500 of them in turn."""
    rng = np.random.default_rng(0)
    modes = rng.integers(8, size=(500, _BATCH))
    points = MIXTURE.centers[modes] + rng.normal(scale=MIXTURE.stddev, size=(*modes.shape, 2))
    return tf.data.Dataset.from_tensor_slices(points.astype("float32")).repeat()
