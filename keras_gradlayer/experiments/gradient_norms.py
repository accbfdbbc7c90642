"""How a deep critic's gradient grows or fades, layer by layer, under clipping and under a penalty.

The critic has twelve ReLU layers and tells the swiss roll from normal noise. With clipped weights
the gradient that comes down from the score shrinks or grows by a factor a layer, and the limit
decides which; with the gradient penalty it stays.

Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, Figure 1(b).
"""

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_gradlayer import data, pictures
from keras_gradlayer._gradients import sample_norm
from keras_gradlayer.callbacks import GradientPenalty, WeightClipping
from keras_gradlayer.models import mlp_critic
from keras_gradlayer.trainers import GAN

METHODS = {
    "clipped at 0.1": lambda: WeightClipping(0.1),
    "clipped at 0.01": lambda: WeightClipping(0.01),
    "clipped at 0.001": lambda: WeightClipping(0.001),
    "gradient penalty": lambda: GradientPenalty(10.0),
}
DEPTH = 12
_BATCH = 256


def train_critic(method: str, updates: int, parts: int = 1) -> GAN:
    """Train a critic by one of `METHODS` against a fixed generator, noise."""
    half = keras.layers.Dense(2, kernel_initializer=keras.initializers.Identity(0.5))
    noise = keras.Sequential([keras.layers.Input((2,)), half])
    gan = GAN(noise, mlp_critic((2,), depth=DEPTH), "wasserstein")
    gan.compile(critic_optimizer=keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    METHODS[method]().set_model(gan)
    samples = iter(data.swiss_roll(n=40 * _BATCH, batch_size=_BATCH).repeat())

    @tf.function(autograph=False, jit_compile=True)
    def update(real):
        gan.critic_update(real)

    for _ in tqdm(range(parts), desc=method):
        for _ in range(updates // parts):
            update(next(samples))
    return gan


def gradient_norms(gan: GAN) -> np.ndarray:
    """The norm of the score's gradient at each hidden layer's output, from the input up.

    Returns:
        Means over 256 samples of the roll, shape (DEPTH,).
    """
    x, found = next(iter(data.swiss_roll(n=_BATCH, batch_size=_BATCH))), []
    with tf.GradientTape() as tape:
        for layer in gan.critic.layers:
            x = layer(x)
            if isinstance(layer, keras.layers.Dense):
                tape.watch(x)
                found.append(x)
        score = tf.reduce_sum(x)
    return np.array([tf.reduce_mean(sample_norm(g)) for g in tape.gradient(score, found[:-1])])


def run(path):
    """Plot the gradient's norm by layer, for each method, into a PNG file."""
    with pictures.figure(path, 6, 3.8) as [[ax]]:
        for method in METHODS:
            norms = gradient_norms(train_critic(method, 3000, parts=30))
            ax.semilogy(1 + np.arange(DEPTH), norms, marker=".", label=method)
        ax.set(xlabel="hidden layer, from the input up", ylabel="norm of the score's gradient")
        ax.legend(fontsize=8)
        ax.grid(alpha=0.3)
