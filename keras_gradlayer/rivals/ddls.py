"""Discriminator driven latent sampling."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.latents.gaussian import Gaussian, default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.conditions import standard_inputs
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.trainers._parts import make_flow


def ddls(
    generator: keras.Model | None,
    critic: keras.Model,
    step_size: float,
    steps: int,
    latent: Latent | None = None,
    temperature: float = 1.0,
) -> Sampler:
    """A sampler that draws latents by Langevin dynamics, where the critic likes their samples.

    Source: Che et al., "Your GAN is Secretly an Energy-based Model and You Should Use Discriminator
    Driven Latent Sampling", NeurIPS 2020, Algorithm 1: the energy of a latent is
    E(z) = −log p(z) − d(G(z)), with the latent's density p and the score d, for which
    q(z) ∝ exp(−E(z)) makes samples of the data's density if d is the log ratio of the densities. A
    step is z − η ∇E(z) + sqrt(2η) ξ, with η = ε/2 for the paper's ε. The noise follows from the
    latent that the chain starts with, so that each latent has one sample. They scale the noise
    down for images; that is a `temperature` below 1.

    Args:
        generator: as for `kgl.FineTuner`.
        critic: the same. A final sigmoid is taken off.
        step_size: η of each step, a positive finite number.
        steps: how many, an integer of at least 1.
        latent: a `kgl.latents.Gaussian`; by default the standard one.
        temperature: the factor of 2η in the noise's variance, a finite number of at least 0.

    Returns:
        A `kgl.Sampler` that shares nothing with generator and critic.

    Raises:
        ValueError: for numbers out of range or another latent, and as for `kgl.FineTuner`.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> sampler = ddls(None, critic, step_size=0.05, steps=20)
        >>> samples = sampler.predict(sampler.latent.sample(8, seed=0), verbose=0)
    """
    step_size = _checks.positive_number("step_size", step_size)
    steps = _checks.positive_int("steps", steps)
    if latent is None:
        given, critic_given, _ = standard_inputs(generator, critic)
        latent = default_latent(critic_given if given is None else given)
    if not isinstance(latent, Gaussian):
        raise ValueError(
            "DDLS follows the gradient of the latent's log density. Expected a "
            f"kgl.latents.Gaussian. Received: latent={latent!r}"
        )
    _, flow, _ = make_flow(
        generator,
        critic,
        "bottom",
        latent,
        "auto",
        "kl",
        step_size=steps * step_size,
        max_layers=1,
        steps_per_layer=steps,
        temperature=temperature,
        penalty=_MinusLogDensity(latent.stddev),
    )
    flow.stack.append()
    return flow


@keras.saving.register_keras_serializable("keras_gradlayer", "MinusLogDensity")
class _MinusLogDensity:
    """−log p(z) of a Gaussian latent, up to a constant."""

    def __init__(self, stddev):
        self.stddev = stddev

    def __call__(self, z, start):
        return tf.reduce_sum(tf.square(z), axis=tuple(range(1, z.shape.rank))) / 2 / self.stddev**2

    def get_config(self):
        return {"stddev": self.stddev}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
