"""From scores to log ratios of densities, by Platt's logistic regression."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_STEPS = 100


class Calibration(NamedTuple):
    """log p(x)/q(x) ≈ slope · score + offset, of the data's density p and the samples' q.

    Attributes:
        slope: of the score.
        offset: the log ratio at score 0.

    Example:
        >>> float(Calibration(slope=2.0, offset=-1.0)(3.0))
        5.0
    """

    slope: float
    offset: float

    def __call__(self, scores: ArrayLike) -> np.ndarray:
        """The log ratios of scores, float64."""
        return self.slope * np.asarray(scores, "float64") + self.offset


def calibrate(real_scores: ArrayLike, fake_scores: ArrayLike) -> Calibration:
    """Fit the log ratio of two densities to a critic's scores.

    Use it where scores are to be read as logits, as the selection methods read them: a
    Wasserstein critic has scores of any scale, and a discriminator is often too sure of itself.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999: logistic regression on
    the score, with his targets (n + 1)/(n + 2) and 1/(n + 2), which keep the slope finite where
    the scores separate. Turner et al. (2019) use isotonic regression; its steps make ties of
    samples that a critic ranks. The offset is that of equal numbers of real and generated.

    Args:
        real_scores: the critic's scores of real data that it was not trained with, shape (n,).
        fake_scores: its scores of samples, shape (m,).

    Raises:
        ValueError: for scores that are not finite numbers, of both kinds and not all equal.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> fit = calibrate(rng.normal(1, 1, 10000), rng.normal(0, 1, 10000))  # log ratio t - 1/2
        >>> abs(fit.slope - 1) < 0.05, abs(fit.offset + 0.5) < 0.05
        (True, True)
    """
    real, fake = (np.asarray(s, "float64").reshape(-1) for s in (real_scores, fake_scores))
    scores = np.concatenate([real, fake])
    if not (len(real) and len(fake) and np.isfinite(scores).all()) or np.ptp(scores) == 0:
        raise ValueError(
            "Calibration expected finite scores of real data and of samples, not all equal. "
            f"Received: {len(real)} of real data from {_range(real)}, {len(fake)} of samples from "
            f"{_range(fake)}"
        )
    mean, scale = scores.mean(), scores.std()
    x = np.stack([(scores - mean) / scale, np.ones_like(scores)], axis=1)
    ones, zeros = (len(real) + 1) / (len(real) + 2), 1 / (len(fake) + 2)
    target = np.concatenate([np.full(len(real), ones), np.full(len(fake), zeros)])

    def loss(w):
        return (np.logaddexp(0, x @ w) - target * (x @ w)).mean()

    w = np.zeros(2)
    for _ in range(_STEPS):  # Newton's method, halved until it descends
        p = 1 / (1 + np.exp(-(x @ w)))
        gradient, curvature = x.T @ (p - target), (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2) * len(x), gradient)
        while loss(w - step) > loss(w) and np.abs(step).max() > 1e-12:
            step /= 2
        w = w - step
        if np.abs(step).max() < 1e-10:
            break
    slope = w[0] / scale
    prior = np.log(len(real) / len(fake))
    return Calibration(float(slope), float(w[1] - slope * mean - prior))


def _range(scores):
    return f"{scores.min():g} to {scores.max():g}" if len(scores) else "none"
