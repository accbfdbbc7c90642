"""The published settings of whole methods: objective, optimizers, callbacks and batch size."""

from typing import NamedTuple

import keras

from keras_gradlayer import _checks, callbacks

__all__ = ["Preset", "ct_gan", "dragan", "wgan", "wgan_gp"]


class Preset(NamedTuple):
    """What a method needs beside a generator and a critic; each call makes new objects.

    The objective is for `kgl.GAN`, the optimizers are for `compile`, and the callbacks for `fit`:
    append your own. The batch size is that of the data.
    """

    objective: str
    generator_optimizer: keras.optimizers.Optimizer
    critic_optimizer: keras.optimizers.Optimizer
    callbacks: list
    batch_size: int = 64


def wgan(limit: float = 0.01, critic_steps: int = 5, learning_rate: float = 5e-5) -> Preset:
    """The Wasserstein GAN with clipped weights.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, Algorithm 1: c = 0.01, n_critic = 5, m = 64,
    RMSprop of 5e-5.

    Args:
        limit: c, the bound on each of the critic's weights.
        critic_steps: n_critic, critic updates before each generator update.
        learning_rate: α, of both optimizers.

    Example:

    >>> preset = wgan()
    >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    >>> gan = kgl.GAN(generator, mlp_critic((2,)), preset.objective)
    >>> gan.compile(
    ...     generator_optimizer=preset.generator_optimizer,
    ...     critic_optimizer=preset.critic_optimizer,
    ... )
    >>> x = keras.random.normal((320, 2))
    >>> history = gan.fit(x, batch_size=64, callbacks=preset.callbacks, verbose=0)
    """
    rate = _checks.positive_number("learning_rate", learning_rate)
    optimizers = [keras.optimizers.RMSprop(rate) for _ in range(2)]
    return _preset("wasserstein", optimizers, critic_steps, callbacks.WeightClipping(limit))


def wgan_gp(
    penalty: float = 10.0,
    one_sided: bool = False,
    critic_steps: int = 5,
    learning_rate: float = 1e-4,
) -> Preset:
    """The Wasserstein GAN with gradient penalty.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, Algorithm 1:
    λ = 10, n_critic = 5, m = 64, Adam of 1e-4 with β2 = 0.9. Departure: β1 = 0.5, as in Nitanda &
    Suzuki's experiments (0 there).

    Args:
        penalty: λ.
        one_sided: penalize only norms above 1.
        critic_steps: n_critic.
        learning_rate: α, of both optimizers.

    Example:

    >>> preset = wgan_gp(one_sided=True)
    """
    added = callbacks.GradientPenalty(penalty, one_sided)
    return _preset("wasserstein", _adams(learning_rate, 0.9), critic_steps, added)


def dragan(penalty: float = 10.0, critic_steps: int = 1, learning_rate: float = 2e-4) -> Preset:
    """The non-saturating GAN with a penalty on the critic's gradient around the data.

    Source: Kodali et al., "On Convergence and Stability of GANs", 2017: λ = 10, k = 1; the
    optimizer, Adam of 2e-4 with β1 = 0.5, is that of Radford et al. (2016).

    Args:
        penalty: λ.
        critic_steps: critic updates before each generator update.
        learning_rate: of both optimizers.

    Example:

    >>> preset = dragan()
    """
    added = callbacks.DRAGANPenalty(penalty)
    return _preset("non_saturating", _adams(learning_rate, 0.999), critic_steps, added)


def ct_gan(
    penalty: float = 10.0,
    consistency: float = 2.0,
    margin: float = 0.0,
    critic_steps: int = 5,
    learning_rate: float = 2e-4,
) -> Preset:
    """The Wasserstein GAN with gradient penalty and consistency term.

    Give it a critic with dropout.

    Source: Wei et al., "Improving the Improved Training of Wasserstein GANs", ICLR 2018: λ1 = 10,
    λ2 = 2, n_critic = 5, m = 64, Adam of 2e-4 with β1 = 0.5 and β2 = 0.9.

    Args:
        penalty: λ1, of the gradient penalty.
        consistency: λ2, of the consistency term.
        margin: M'.
        critic_steps: n_critic.
        learning_rate: of both optimizers.

    Example:

    >>> preset = ct_gan(margin=0.2)
    """
    added = callbacks.GradientPenalty(penalty), callbacks.ConsistencyPenalty(consistency, margin)
    return _preset("wasserstein", _adams(learning_rate, 0.9), critic_steps, *added)


def _adams(learning_rate, beta_2):
    """One for each player."""
    rate = _checks.positive_number("learning_rate", learning_rate)
    return [keras.optimizers.Adam(rate, 0.5, beta_2) for _ in range(2)]


def _preset(objective, optimizers, critic_steps, *added):
    return Preset(objective, *optimizers, [callbacks.CriticInnerLoop(critic_steps), *added])
