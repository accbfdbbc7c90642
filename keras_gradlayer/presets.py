"""The published settings of whole methods: the objective, optimizers, callbacks and batch size."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks, callbacks
from keras_gradlayer._conditions import unpair
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.trainers import GAN, DualingGAN, UnrolledGAN
from keras_gradlayer.trainers._data import as_dataset
from keras_gradlayer.trainers._parts import copies_to_play
from keras_gradlayer.trainers.mean_weights import MeanWeights, recompute_statistics

__all__ = [
    "Preset",
    "ct_gan",
    "dcgan",
    "dragan",
    "dualing_gan",
    "gradient_regularized",
    "hinge",
    "least_squares",
    "unrolled_gan",
    "wgan",
    "wgan_gp",
]


_STATISTICS = 25  # batches of each kind, for the statistics of batch normalization


class Preset(NamedTuple):
    """What a method needs besides a generator and a critic; each call makes new objects.

    Attributes:
        objective: its name.
        generator_optimizer: the generator's.
        critic_optimizer: the critic's; `None` for a Dualing GAN.
        callbacks: for `fit`; append your own.
        batch_size: the batch size of the data.
        trainer: the class that trains it.

    Example:

    >>> preset = wgan_gp()
    >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    >>> gan = preset.gan(generator, mlp_critic((2,)))
    >>> x = keras.random.normal((320, 2))
    >>> history = gan.fit(x, batch_size=64, callbacks=preset.callbacks, verbose=0)
    """

    objective: str
    generator_optimizer: keras.optimizers.Optimizer
    critic_optimizer: keras.optimizers.Optimizer | None
    callbacks: list
    batch_size: int = 64
    trainer: Callable[..., GAN] = GAN

    @property
    def critic_steps(self) -> int:
        """Critic updates before each generator update."""
        steps = (getattr(c, "critic_steps", None) for c in self.callbacks)
        return next((k for k in steps if k is not None), 1)

    def gan(self, generator: keras.Model, critic: keras.Model, **kwargs) -> GAN:
        """A GAN of these models, compiled; further arguments are the trainer's."""
        gan = self.trainer(generator, critic, objective=self.objective, **kwargs)
        optimizers = {"generator_optimizer": self.generator_optimizer}
        if self.critic_optimizer is not None:
            optimizers["critic_optimizer"] = self.critic_optimizer
        gan.compile(**optimizers)
        return gan

    def average_critic(
        self,
        generator: keras.Model,
        critic: keras.Model,
        x: ArrayLike | tf.data.Dataset,
        condition: ArrayLike | None = None,
        iterations: int = 500,
        batch_size: int | None = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        verbose: str | int = "auto",
        latent: Latent | None = None,
        **kwargs,
    ) -> keras.Model:
        """The critic averaged over its game, which goes on for a while with copies.

        Use it on a GAN that has stopped improving, before `FineTuner(generator, critic)`. In a game
        the critic swings with the generator that it plays against, and the mean of its weights may
        be the better guide: docs/RIVALS.md has GANs where layers that follow it gain more. Compare
        the two by `kgl.best_insert`. The generator handed over is the one to fine-tune; what
        becomes of its copy is left behind.

        Source: none that we know for layers. The mean of weights is that of Izmailov et al.,
        "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018; averages of
        both players are Brown's fictitious play (1951). Nitanda & Suzuki (2018) train the critic
        against samples that stand still.

        Args:
            generator: as for `FineTuner`.
            critic: the same; it and the generator must have been trained by a game such as this.
            x: real samples, or batches of them, as for `GAN.fit`.
            condition: the samples' conditions, for a conditional GAN.
            iterations: updates of the generator.
            batch_size: for arrays, this preset's by default.
            callbacks: for `fit`, besides this preset's.
            verbose: as for `fit`.
            latent: the latent distribution; a standard normal by default.
            **kwargs: what else the trainer takes.

        Returns:
            A copy of the critic, with the mean of its weights after each of its updates. A sigmoid
            that it ends with is kept. The statistics of batch normalization are computed anew, on
            real and generated batches.

        Raises:
            ValueError: as `GAN` and its `fit`, and for a model that cannot be copied.
            FloatingPointError: if the game diverges.

        Example:

        >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
        >>> x = keras.random.normal((320, 2))
        >>> critic = mlp_critic((2,))
        >>> averaged = wgan_gp().average_critic(generator, critic, x, iterations=2, verbose=0)
        """
        iterations = _checks.positive_int("iterations", iterations)
        given = generator, critic, self.objective, latent
        generator, critic, played = copies_to_play(*given)
        own, theirs = self.generator_optimizer, self.critic_optimizer
        own = type(own).from_config(own.get_config())  # a preset serves more than once
        theirs = theirs and type(theirs).from_config(theirs.get_config())
        settings = self.callbacks, self.batch_size, self.trainer
        game = Preset(self.objective, own, theirs, *settings)
        gan = game.gan(generator, played, latent=latent, **kwargs)
        mean = MeanWeights(played)
        if batch_size is None and not isinstance(x, tf.data.Dataset):
            batch_size = self.batch_size
        gan.fit(
            x,
            condition,
            batch_size,
            callbacks=[*self.callbacks, *(callbacks or ()), mean],
            steps_per_epoch=iterations * self.critic_steps,
            verbose=verbose,
        )
        mean.apply()

        def batches():
            data, _ = as_dataset(x, condition, batch_size, spec=gan.condition_spec)
            for batch in data.take(_STATISTICS):
                real, labels = unpair(batch)
                yield real, labels
                yield unpair(gan.generate(len(real), labels))[0], labels

        recompute_statistics(played, batches())
        critic.set_weights(played.get_weights())
        if bad := [w.path for w in critic.weights if not np.isfinite(w.numpy()).all()]:
            raise FloatingPointError(
                f"The game diverged: NaN or infinity in {', '.join(bad)}. Take the preset of the "
                "game that the GAN was trained in, or a smaller `learning_rate`."
            )
        return critic


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

    Give it a critic with dropout, as `kgl.models.dcgan_critic(shape, dropout=0.5)`.

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


def dcgan(critic_steps: int = 1, learning_rate: float = 2e-4) -> Preset:
    """The GAN of Goodfellow et al. (2014), whose generator maximizes log D, by DCGAN's settings.

    Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", ICLR 2016, section 4: Adam of 2e-4 with β1 = 0.5, m = 128. A critic gives
    logits here, without the final sigmoid.

    Args:
        critic_steps: critic updates before each generator update.
        learning_rate: of both optimizers.

    Example:

    >>> preset = dcgan()
    """
    adams = _adams(learning_rate, 0.999)
    return _preset("non_saturating", adams, critic_steps, batch_size=128)


def hinge(critic_steps: int = 5, learning_rate: float = 2e-4) -> Preset:
    """The hinge GAN of SNGAN: give it a critic with `keras.layers.SpectralNormalization`.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018,
    section 4: n_dis = 5, Adam of 2e-4 with β1 = 0 and β2 = 0.9, m = 64.

    Args:
        critic_steps: n_dis.
        learning_rate: α, of both optimizers.

    Example:

    >>> preset = hinge()
    """
    return _preset("hinge", _adams(learning_rate, 0.9, beta_1=0.0), critic_steps)


def least_squares(critic_steps: int = 1, learning_rate: float = 2e-4) -> Preset:
    """The least-squares GAN.

    Source: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017: m = 64, Adam
    with β1 = 0.5, here of 2e-4.

    Args:
        critic_steps: critic updates before each generator update.
        learning_rate: of both optimizers.

    Example:

    >>> preset = least_squares()
    """
    return _preset("least_squares", _adams(learning_rate, 0.999), critic_steps)


def gradient_regularized(
    penalty: float = 0.5, critic_steps: int = 1, learning_rate: float = 1e-4
) -> Preset:
    """The minimax GAN whose generator also descends the squared norm of the critic's gradient.

    Source: Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS
    2017: η = 0.5, Adam of 1e-4 with β1 = 0.5, m = 512, as in its published code for eight
    Gaussians.

    Args:
        penalty: η, the regularizer's weight.
        critic_steps: critic updates before each generator update.
        learning_rate: of both optimizers.

    Example:

    >>> preset = gradient_regularized()
    """
    added = callbacks.GeneratorGradientRegularizer(penalty)
    adams = _adams(learning_rate, 0.999)
    return _preset("minimax", adams, critic_steps, added, batch_size=512)


def unrolled_gan(
    unrolled_steps: int = 5, critic_steps: int = 1, learning_rate: float = 1e-4
) -> Preset:
    """The minimax GAN whose generator looks some critic steps ahead.

    Source: Metz et al., "Unrolled Generative Adversarial Networks", ICLR 2017: Adam of 1e-4 with
    β1 = 0.5 and m = 512 on eight Gaussians, with k = 10 there. A generator update costs about 3k
    critic updates.

    Args:
        unrolled_steps: k.
        critic_steps: critic updates before each generator update.
        learning_rate: of both optimizers.

    Example:

    >>> preset = unrolled_gan(unrolled_steps=10)
    """
    given = {"batch_size": 512, "trainer": functools.partial(UnrolledGAN, steps=unrolled_steps)}
    return _preset("minimax", _adams(learning_rate, 0.999), critic_steps, **given)


def dualing_gan(variant: str = "score", learning_rate: float = 1e-3) -> Preset:
    """The GAN whose critic is solved for on each batch.

    Source: Li et al., "Dualing GANs", NeurIPS 2017. The generator's Adam of 1e-3 with β1 = 0.5 is
    that of `experiments/dualing.py`.

    Args:
        variant: `"cost"` or `"score"`; `"linear"` for a critic that is linear in its variables.
        learning_rate: of the generator's optimizer.

    Example:

    >>> preset = dualing_gan("cost")
    """
    adam = keras.optimizers.Adam(learning_rate, 0.5)
    trainer = functools.partial(DualingGAN, variant=variant)
    return Preset("minimax", adam, None, [], trainer=trainer)


def _adams(learning_rate, beta_2, beta_1=0.5):
    """One for each player."""
    rate = _checks.positive_number("learning_rate", learning_rate)
    return [keras.optimizers.Adam(rate, beta_1, beta_2) for _ in range(2)]


def _preset(objective, optimizers, critic_steps, *added, **given):
    added = [callbacks.CriticInnerLoop(critic_steps), *added]
    return Preset(objective, *optimizers, added, **given)
