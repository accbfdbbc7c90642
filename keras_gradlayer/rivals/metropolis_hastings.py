"""The Metropolis-Hastings GAN."""

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.rivals._candidates import Candidates, scores

_PART = 10_000


def metropolis_hastings(
    generator: keras.Model | None,
    critic: keras.Model,
    n: int,
    real: ArrayLike,
    steps: int = 640,
    latent: Latent | None = None,
    output_activation: str | Callable | None = "auto",
    seed: int = 0,
) -> np.ndarray:
    """Samples at the ends of Markov chains that propose what a generator draws.

    Each costs `steps` samples and scores.

    Source: Turner et al., "Metropolis-Hastings Generative Adversarial Networks", ICML 2019,
    Algorithm 1. A chain at x moves to the next sample x′ with the chance
    min(1, (1/D(x) − 1) / (1/D(x′) − 1)), which is min(1, exp(l(x′) − l(x))) for the log ratios l,
    scores that are calibrated by `kgl.rivals.calibrate` (the paper: isotonic regression). It starts
    at a real sample; one that never moves starts anew at the first sample drawn for it.

    Args:
        generator: as for `kgl.FineTuner`.
        critic: the same.
        n: how many samples, an integer of at least 1.
        real: real data that the critic was not trained with, (m, *sample shape), to calibrate on
            and to start from.
        steps: length of each chain, an integer of at least 1.
        latent: as for `kgl.FineTuner`.
        output_activation: as for `kgl.FineTuner`.
        seed: integer of at least 0 that fixes candidates and choices.

    Returns:
        Array of shape (n, *sample shape), none of them real.

    Raises:
        ValueError: for numbers out of range, data of another shape, a conditional GAN, and as for
            `kgl.FineTuner`.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> real = np.random.default_rng(0).uniform(-1, 1, (200, 2))
        >>> metropolis_hastings(None, critic, 50, real, steps=20).shape
        (50, 2)
    """
    n, steps = _checks.positive_int("n", n), _checks.positive_int("steps", steps)
    candidates = Candidates.of(generator, critic, real, latent, output_activation, seed)
    rng = np.random.default_rng((candidates.seed, 2**32))
    starts = candidates.calibration(scores(candidates.flow, candidates.real))
    chains, kept = max(1, _PART // steps), []
    for part, first in enumerate(range(0, n, chains)):
        rows = min(chains, n - first)
        samples, log_ratio = candidates.draw(rows * steps, part)
        log_ratio = log_ratio.reshape(rows, steps)
        ends = chain_ends(log_ratio, rng.choice(starts, rows), rng.random((rows, steps)))
        kept.append(samples[np.arange(rows) * steps + ends])
    return np.concatenate(kept)


def chain_ends(log_ratio: np.ndarray, start: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Which candidate each chain ends at, integers of shape (chains,).

    Args:
        log_ratio: of the candidates, shape (chains, steps).
        start: the log ratio that each chain starts with, shape (chains,).
        chance: uniform numbers in [0, 1), shape (chains, steps).
    """
    ends = _run(log_ratio, start, chance)
    stuck = ends < 0
    ends[stuck] = 1 + _run(log_ratio[stuck, 1:], log_ratio[stuck, 0], chance[stuck, 1:])
    return ends


def _run(log_ratio, at, chance):
    """The index of the last candidate accepted; −1 where none is."""
    ends = np.full(len(log_ratio), -1)
    for k in range(log_ratio.shape[1]):
        moves = np.log(np.maximum(chance[:, k], 1e-300)) < log_ratio[:, k] - at
        at, ends = np.where(moves, log_ratio[:, k], at), np.where(moves, k, ends)
    return ends
