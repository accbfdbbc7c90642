"""What a well-trained critic still teaches a generator whose samples lie off the data.

The data are uniform on the segment from (0, 0) to (0, 1), the samples on the one from (θ, 0) to
(θ, 1): two parallel lines, for which the Jensen-Shannon divergence is log 2 and the Wasserstein
distance |θ|, whatever θ ≠ 0 is. The generator has the one parameter θ. With noise on what the
critic sees, the divergence has a slope again. With errors in a perfect discriminator, the gradient
of −log D is Cauchy: it has no mean, and no batch makes it less wild.

Source: Arjovsky & Bottou, "Towards Principled Methods for Training Generative Adversarial
Networks", ICLR 2017, Theorems 2.4 and 2.6, Corollary 3.2; Arjovsky et al., "Wasserstein GAN",
2017, Example 1.
"""

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_gradlayer import _random, pictures
from keras_gradlayer.callbacks import GradientPenalty, InstanceNoise
from keras_gradlayer.latents import Uniform
from keras_gradlayer.models import mlp_critic
from keras_gradlayer.trainers import GAN

OBJECTIVES = {"minimax": "log(1 − D)", "non_saturating": "−log D", "wasserstein": "W"}
NOISY = ("minimax", OBJECTIVES["minimax"]), 0.25
THETA = 0.5
_BATCH = 256


def train_critic(
    objective: str, updates: int, every: int, noise: float = 0.0, theta: float = THETA
) -> dict[str, np.ndarray]:
    """Train a critic against a fixed generator; "wasserstein" comes with the gradient penalty.

    Args:
        objective: one of `OBJECTIVES`.
        updates: of the critic.
        every: how many of them lie between two measurements.
        noise: σ of the noise on all that the critic sees.
        theta: θ, where the samples are.

    Returns:
        Arrays by name, measured before and after each `every` updates: `updates` so far,
        `gradient`, the norm of the generator's gradient, and `value`, V.
    """
    generator = keras.Sequential([keras.layers.Input((1,)), _Line(theta)])
    gan = GAN(generator, mlp_critic((2,), units=64), objective, latent=Uniform((1,), 0.0, 1.0))
    gan.compile(critic_optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5, beta_2=0.9))
    if objective == "wasserstein":
        GradientPenalty(10.0).set_model(gan)
    if noise:
        InstanceNoise(noise).set_model(gan)

    def data():
        height = _random.uniform((_BATCH, 1), gan.seed_generator)
        return tf.concat([tf.zeros_like(height), height], axis=1)

    def update(i):
        gan.critic_update(data())
        return (i + 1,)

    @tf.function(autograph=False)
    def some_updates():
        tf.while_loop(lambda i: i < every, update, (0,))

    @tf.function(autograph=False)
    def measure():
        real, fake = gan.batches(data())
        [gradient] = gan.generator_gradients(data())
        return tf.abs(gradient[0]), gan.objective.value(gan.scores(real), gan.scores(fake))

    seen, name = [measure()], OBJECTIVES[objective] + (f", σ = {noise:g}" if noise else "")
    for _ in tqdm(range(updates // every), desc=name):
        some_updates()
        seen.append(measure())
    gradient, value = np.array(seen, "float64").T
    return {"updates": every * np.arange(len(seen)), "gradient": gradient, "value": value}


def noisy_gradients(
    objective: str, draws: int, batch: int = 1, errors: tuple[float, float] = (0.1, 1.0)
) -> np.ndarray:
    """∂/∂θ of the generator's loss by a perfect discriminator with errors: D = ε, ∇D = r.

    That is Theorem 2.6: on the samples D* and ∇D* are 0, ε and r are Gaussian, and independent of
    each other and from sample to sample. Its law for −log D is Cauchy's, centred, of the scale
    σ_r / σ_ε, whatever the batch. (D then has no bounds: it is log |D| whose gradient is ∇D / D.)

    Args:
        objective: "non_saturating", −log D, or "minimax", log(1 − D).
        draws: how many gradients.
        batch: samples in the mean of each.
        errors: σ_ε and σ_r.

    Returns:
        An array of shape (draws,).
    """
    of_value, of_gradient = errors
    shape = draws, batch

    @tf.custom_gradient
    def discriminator(x):
        error = of_value * tf.random.normal(shape, dtype="float64")
        slope = of_gradient * tf.random.normal((*shape, 2), dtype="float64")
        return error, lambda upstream: upstream[..., None] * slope

    theta = tf.fill([draws], tf.constant(THETA, "float64"))
    with tf.GradientTape() as tape:
        tape.watch(theta)
        z = tf.random.uniform(shape, dtype="float64")
        d = discriminator(tf.stack([0 * z + theta[:, None], z], axis=-1))
        log = -tf.math.log(tf.abs(d)) if objective == "non_saturating" else tf.math.log(1 - d)
        loss = tf.reduce_mean(log, axis=1)
    return tape.gradient(loss, theta).numpy()


def tail_index(x: np.ndarray, share: float = 0.01) -> float:
    """α of P(|x| > t) ~ t^−α, Hill's estimate from the largest of the values.

    Cauchy's law has α = 1; moments from the α-th on are infinite. The estimate's standard error is
    α over the root of the number of values it is made of.
    """
    top = np.sort(np.abs(x))[-int(share * len(x)) - 1 :]
    return 1 / np.mean(np.log(top[1:] / top[0]))


def run(path):
    """Plot the generator's gradient, V and the law of the gradient with errors, into a PNG file."""
    with pictures.figure(path, 14, 3.4, 1, 3) as [[left, right, law]]:
        for (objective, title), noise in [*((o, 0.0) for o in OBJECTIVES.items()), NOISY]:
            found = train_critic(objective, 2000, 20, noise)
            title += f", σ = {noise:g}" if noise else ""
            left.semilogy(found["updates"], found["gradient"], label=title)
            if objective != "non_saturating":  # whose V is that of the first
                right.plot(found["updates"], found["value"], label=f"V, {title}")
        left.set(ylabel="|∂/∂θ|", title="the generator's gradient")
        right.set(title="V: 2 JS − log 4 → 0, and W → |θ| = 0.5")
        for limit in (0.0, THETA):
            right.axhline(limit, color="gray", linewidth=0.8, linestyle=":")
        for ax in (left, right):
            ax.set_xlabel("critic updates")
        _plot_law(law)
        for ax in (left, right, law):
            ax.legend(fontsize=8)
            ax.grid(alpha=0.3)


def _plot_law(ax):
    draws = 100_000
    shares = np.arange(draws, 0, -1) / draws
    for objective, batch in ("non_saturating", 1), ("non_saturating", 64), ("minimax", 1):
        found = np.sort(np.abs(noisy_gradients(objective, draws, batch)))
        label = f"{OBJECTIVES[objective]}, batch {batch}: α = {tail_index(found):.2f}"
        ax.loglog(found, shares, label=label)
    t = np.geomspace(1, 1e5)
    cauchy = 2 / np.pi * np.arctan(10 / t)
    ax.loglog(t, cauchy, color="gray", linestyle=":", label="Cauchy, scale σr / σε = 10")
    ax.set(xlabel="t", ylabel="P(|∂/∂θ| > t)", ylim=(1 / draws, 1.5))
    ax.set(title="a perfect D with errors", xlim=(0.01, 1e6))


class _Line(keras.layers.Layer):
    """z in [0, 1) to (θ, z)."""

    def __init__(self, theta):
        super().__init__()
        self.theta = self.add_weight(shape=(1,), initializer=keras.initializers.Constant(theta))

    def call(self, z):
        return tf.concat([0 * z + self.theta, z], axis=1)
