"""One unfinished GAN of 25 Gaussians, and what each method makes of it without training it on.

A WGAN-GP is stopped early, when its samples still lie between the modes, and a discriminator is
trained to tell its samples from the data, so that its score is about the log ratio of the
densities. Gradient layers along it, with noise or without (DGflow), chains in the latent (DDLS),
transport (DOT) and selection (rejection, Metropolis-Hastings) all take the same two models.

Source: the toy figures of Ansari et al. (2021), Che et al. (2020), Tanaka (2019), Azadi et al.
(2019) and Turner et al. (2019), on data of this package's scale.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import data, rivals
from keras_gradlayer.experiments import methods
from keras_gradlayer.metrics import mode_coverage, sliced_wasserstein
from keras_gradlayer.models import mlp_critic
from keras_gradlayer.pictures import point_panels
from keras_gradlayer.trainers import refine

_POINTS = 20_000
_STEP, _STEPS, _NOISE = 5e-4, 100, 0.01


def train(iterations: int, epochs: int) -> tuple[keras.Model, keras.Model]:
    """A generator that is not finished, and a discriminator of its samples that is.

    Args:
        iterations: of the WGAN-GP.
        epochs: of the discriminator, over 20,000 points and as many samples.
    """
    gan = methods.train("WGAN-GP", "twenty_five_gaussians", iterations)
    x = np.concatenate([points(_POINTS, seed=1), _plain(gan.generator, _POINTS, seed=1)])
    labels = np.repeat([1.0, 0.0], _POINTS)
    critic = mlp_critic((2,))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    steps = epochs * (2 * _POINTS // 256)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    critic.compile(keras.optimizers.Adam(rate), loss)
    critic.fit(x, labels, batch_size=256, epochs=epochs, verbose=0)
    return gan.generator, critic


def points(n: int, seed: int) -> np.ndarray:
    """Points of the data, shape (n, 2), of another seed than the GAN's."""
    return next(iter(data.twenty_five_gaussians(n, batch_size=n, seed=seed))).numpy()


def compare(generator: keras.Model, critic: keras.Model, n: int) -> dict[str, np.ndarray]:
    """`n` samples of each method, by its name, from the same latents where it takes latents."""
    held_out = points(5000, seed=2)

    def flow(objective, temperature=0.0):
        arguments = "top", objective, None, "auto", temperature
        return _drawn(refine(generator, critic, _STEP, _STEPS, *arguments), n)

    found: dict[str, Callable[[], np.ndarray]] = {
        "generator": lambda: _plain(generator, n, seed=3),
        "KL, γ = 0": lambda: flow("kl"),
        "DGflow, KL": lambda: flow("kl", _NOISE),
        "DGflow, JS": lambda: flow("minimax", _NOISE),
        "DGflow, log D": lambda: flow("non_saturating", _NOISE),
        "DDLS": lambda: _drawn(rivals.ddls(generator, critic, 1e-3, 500), n),
        "DOT": lambda: _drawn(rivals.dot(generator, critic, 0.01, 100), n),
        "rejection": lambda: rivals.rejection_sampling(generator, critic, n, held_out, None),
        "Metropolis-Hastings": lambda: rivals.metropolis_hastings(
            generator, critic, n, held_out, steps=100
        ),
    }
    return {name: draw() for name, draw in found.items()}


def scores(samples: np.ndarray) -> tuple[float, int, float]:
    """Share within four standard deviations of a mode, modes, sliced Wasserstein distance."""
    found = mode_coverage(samples, *data.TWENTY_FIVE_GAUSSIANS)
    distance = sliced_wasserstein(points(len(samples), seed=4), samples, projections=64)
    return found.within, found.modes, distance


def run(path):
    """Draw the samples of each method, with their scores, into a PNG file."""
    found = compare(*train(iterations=1000, epochs=15), n=5000)
    panels = []
    for name, samples in found.items():
        within, modes, distance = scores(samples)
        panels.append((f"{name}\n{within:.0%} near, {modes} modes, {distance:.4f}", samples))
    rows = {" " * i: panels[i : i + 3] for i in range(0, len(panels), 3)}
    point_panels(path, rows, 1.1)


def _plain(generator, n, seed):
    z = tf.random.stateless_normal((n, *generator.input_shape[1:]), (seed, 0))
    return generator.predict(z, batch_size=5000, verbose=0)


def _drawn(sampler, n):
    return sampler.predict(sampler.latent.sample(n, seed=3), verbose=0)
