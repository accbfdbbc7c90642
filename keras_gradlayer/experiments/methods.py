"""Four ways to keep a critic Lipschitz, on three toy data sets.

Clipped weights end at the limit and leave the critic almost flat. A gradient penalty keeps its
slope near 1 between the data and the samples, the one-sided penalty below 1, and DRAGAN's penalty
near 1 around the data. λ = 0.1, as in the published code for toys. With 10 the two-sided penalty
outweighs the distance, here below 1: it keeps the slope at 1 where the best critic would be flat,
and the samples circle.

Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, Figure 1; Kodali et
al., "On Convergence and Stability of GANs", 2017.
"""

import keras
import numpy as np
from tqdm import tqdm

from keras_gradlayer import data, presets
from keras_gradlayer._gradients import input_gradient, sample_norm
from keras_gradlayer.models import mlp_critic
from keras_gradlayer.pictures import point_panels
from keras_gradlayer.trainers import GAN

METHODS = {
    "WGAN, clipped": presets.wgan,
    "WGAN-GP": lambda: presets.wgan_gp(penalty=0.1),
    "one-sided": lambda: presets.wgan_gp(penalty=0.1, one_sided=True),
    "DRAGAN": lambda: presets.dragan(penalty=0.1),
}
_LOADERS = (data.eight_gaussians, data.twenty_five_gaussians, data.swiss_roll)
TOYS = {load.__name__: load for load in _LOADERS}
_BATCH = 256


def train(method: str, toy: str, iterations: int, parts: int = 1) -> GAN:
    """Train a GAN by one of `METHODS` on one of `TOYS`, with so many steps of the progress bar."""
    layers = keras.layers
    hidden = [layers.Dense(128, "relu") for _ in range(3)]
    generator = keras.Sequential([layers.Input((2,)), *hidden, layers.Dense(2, "tanh")])
    preset = METHODS[method]()
    gan = GAN(generator, mlp_critic((2,)), preset.objective)
    gan.compile(
        generator_optimizer=preset.generator_optimizer, critic_optimizer=preset.critic_optimizer
    )
    samples = TOYS[toy](n=40 * _BATCH, batch_size=_BATCH).repeat()
    steps = iterations * preset.callbacks[0].critic_steps
    for _ in tqdm(range(parts), desc=f"{method}, {toy}"):
        gan.fit(samples, steps_per_epoch=steps // parts, callbacks=preset.callbacks, verbose=0)
    return gan


def slopes(gan: GAN, toy: str) -> np.ndarray:
    """The norms of the critic's gradient between data and samples, shape (256,)."""
    real = next(iter(TOYS[toy](n=_BATCH, batch_size=_BATCH)))
    fake = gan(gan.latent.sample(_BATCH, seed=0))
    share = np.random.default_rng(0).random((_BATCH, 1), "float32")
    return sample_norm(input_gradient(gan.scores, share * real + (1 - share) * fake)).numpy()


def run(path):
    """Draw samples over the level sets of the critic, for each method and toy, into a PNG file."""
    rows, scores = {}, {}
    for method in METHODS:
        gans = {toy: train(method, toy, iterations=3000, parts=30) for toy in TOYS}
        rows[method] = [
            (f"slope {slopes(gan, toy).mean():.2g}", gan(gan.latent.sample(1000, seed=0)))
            for toy, gan in gans.items()
        ]
        scores[method] = [gan.scores for gan in gans.values()]
    shown = [next(iter(load(n=1000, batch_size=1000))) for load in TOYS.values()]
    point_panels(path, rows, 1.1, shown, scores)
