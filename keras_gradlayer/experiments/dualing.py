"""How steadily GANs learn: three whose critic is solved for, and one whose critic is descended.

Source: Li et al., "Dualing GANs", NeurIPS 2017, section 4, on the eight Gaussians of this package.
"""

import functools

import keras
import numpy as np
from tqdm import tqdm

from keras_gradlayer import data, pictures
from keras_gradlayer.metrics import mode_coverage
from keras_gradlayer.models import mlp_critic
from keras_gradlayer.trainers import GAN, DualingGAN

METHODS = ("GAN, linear critic", "linear", "GAN", "cost", "score")
_BATCH, _RATE, _FEATURES = 64, 1e-3, 256


def train(method: str, iterations: int, every: int) -> np.ndarray:
    """Train one GAN of `METHODS`, both players once an iteration.

    Returns:
        The share of samples within four standard deviations of a mode, each `every` iterations.
    """
    layers = keras.layers
    hidden = [layers.Dense(64, "relu") for _ in range(2)]
    generator = keras.Sequential([layers.Input((8,)), *hidden, layers.Dense(2, "tanh")])
    adam = functools.partial(keras.optimizers.Adam, _RATE, beta_1=0.5)
    linear = method in ("linear", "GAN, linear critic")
    deep = mlp_critic((2,), units=64, depth=2)  # also where unused: a seed is one generator
    critic = _linear_critic() if linear else deep
    if method in ("linear", "cost", "score"):
        gan = DualingGAN(generator, critic, method, weight_decay=0.01 if linear else 1e-4)
        gan.compile(generator_optimizer=adam())
    else:
        gan = GAN(generator, critic, "minimax")
        gan.compile(generator_optimizer=adam(), critic_optimizer=adam())
    samples = data.eight_gaussians(n=200 * _BATCH, batch_size=_BATCH).repeat()
    latents, found = gan.latent.sample(2000, seed=0), []
    for _ in tqdm(range(iterations // every), desc=method):
        gan.fit(samples, steps_per_epoch=every, verbose=0)
        drawn = gan.predict(latents, batch_size=2000, verbose=0)
        found.append(mode_coverage(drawn, *data.EIGHT_GAUSSIANS).within)
    return np.array(found)


def run(path):
    """Plot the score of each method during training, over three seeds, into a PNG file."""
    with pictures.figure(path, 8, 3.8) as [[ax]]:
        for i, method in enumerate(METHODS):
            runs = []
            for seed in range(3):
                keras.utils.set_random_seed(seed)
                runs.append(100 * train(method, 3000, 100))
            mean, at = np.mean(runs, axis=0), 100 * np.arange(1, len(runs[0]) + 1)
            label = f"{method}: {mean[-1]:.0f}% at the end, {mean.mean():.0f}% on average"
            ax.plot(at, mean, color=f"C{i}", label=label)
            ax.fill_between(at, np.min(runs, 0), np.max(runs, 0), color=f"C{i}", alpha=0.2)
        ax.set(xlabel="iterations", ylabel="% of samples within 4 stddev of a mode", ylim=(0, 100))
        ax.legend(fontsize=8)
        ax.grid(alpha=0.3)


def _linear_critic():
    """w·φ(x) with random Fourier features φ of length scale 1/3 (Rahimi & Recht, 2007)."""
    rng = np.random.default_rng(0)
    directions = rng.normal(scale=3.0, size=(2, _FEATURES)).astype("float32")
    phases = rng.uniform(0, 2 * np.pi, _FEATURES).astype("float32")
    features = keras.layers.Dense(_FEATURES, keras.ops.cos, trainable=False)
    critic = keras.Sequential([keras.layers.Input((2,)), features, keras.layers.Dense(1)])
    features.set_weights([directions, phases])
    return critic
