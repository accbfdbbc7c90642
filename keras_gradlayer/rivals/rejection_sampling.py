"""Discriminator rejection sampling."""

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.rivals._candidates import Candidates

_PART = 10_000
_EPSILON = 1e-8


def rejection_sampling(
    generator: keras.Model | None,
    critic: keras.Model,
    n: int,
    real: ArrayLike,
    percentile: float | None = 80.0,
    latent: Latent | None = None,
    output_activation: str | Callable | None = "auto",
    seed: int = 0,
) -> np.ndarray:
    """Samples that a critic accepts, each with a chance that grows with the ratio of densities.

    Source: Azadi et al., "Discriminator Rejection Sampling", ICLR 2019, Algorithm 1. A sample with
    the log ratio l is accepted with the chance σ(F), F = l − m − log(1 − exp(l − m − ε)) − γ, with
    the greatest log ratio m seen so far, from 10,000 samples that are thrown away; γ is a
    percentile of the F of 10,000 samples at a time. Without γ and ε the chance is exp(l − m), which
    gives the data's density if l is exact. Departures: l is a score calibrated by
    `kgl.rivals.calibrate`, where the paper trains the critic's last layer on.

    Args:
        generator: as for `kgl.FineTuner`.
        critic: the same.
        n: how many samples, an integer of at least 1.
        real: real data that the critic was not trained with, (m, *sample shape), to calibrate on.
        percentile: which share of the samples, of 100, have F below 0: more reject more. `None`
            is γ = 0. The paper takes 80 for images and 95 for 25 Gaussians.
        latent: as for `kgl.FineTuner`.
        output_activation: as for `kgl.FineTuner`.
        seed: integer of at least 0 that fixes candidates and choices.

    Returns:
        Array of shape (n, *sample shape).

    Raises:
        ValueError: for numbers out of range, data of another shape, a conditional GAN, fewer than
            one accepted in 10,000, and as for `kgl.FineTuner`.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> real = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> rejection_sampling(None, critic, 50, real).shape
        (50, 2)
    """
    n = _checks.positive_int("n", n)
    if (
        percentile is not None
        and not 0 <= _checks.positive_number("percentile", percentile, zero_ok=True) <= 100
    ):
        raise ValueError(f"`percentile` must be from 0 to 100. Received: percentile={percentile}")
    candidates = Candidates.of(generator, critic, real, latent, output_activation, seed)
    rng = np.random.default_rng((candidates.seed, 2**32))
    greatest = candidates.draw(_PART, part=0)[1].max()
    part, kept = 0, list[np.ndarray]()
    while sum(len(samples) for samples in kept) < n:
        part += 1
        samples, log_ratio = candidates.draw(_PART, part)
        greatest = max(greatest, log_ratio.max())
        kept.append(samples[rng.random(_PART) < acceptance(log_ratio, greatest, percentile)])
        if not len(kept[-1]):
            raise ValueError(
                f"None of {_PART:,} samples was accepted: one score is far above all others. "
                "Expected log ratios near the greatest. Received: a median "
                f"{greatest - np.median(log_ratio):.1f} below it. Pass a lower `percentile`."
            )
    return np.concatenate(kept)[:n]


def acceptance(log_ratio: np.ndarray, greatest: float, percentile: float | None) -> np.ndarray:
    """The chance to accept each sample, shape (n,), of log ratios up to `greatest`."""
    below = np.asarray(log_ratio, "float64") - greatest
    f = below - np.log(-np.expm1(below - _EPSILON))
    gamma = 0.0 if percentile is None else np.percentile(f, percentile)
    return 1 / (1 + np.exp(-np.clip(f - gamma, -700, 700)))
