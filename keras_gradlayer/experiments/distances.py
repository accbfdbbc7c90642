"""What Wasserstein's distance, KL and JS say of a distribution that has moved by θ.

The Wasserstein distance of anything to itself moved by θ is |θ|: no coupling costs more than to
move all by θ, and the 1-Lipschitz function x·u, along the move, tells as much. KL and JS depend on
the overlap: on parallel lines, which have none, they are infinite and log 2 whatever θ ≠ 0 is; for
the toys here, mixtures of narrow Gaussians, JS reaches log 2 once θ exceeds about six standard
deviations, and falls again where modes of one meet modes of the other. Dots are what critics of W
and JS, trained on the lines, make of them.

Source: Arjovsky et al., "Wasserstein GAN", 2017, Example 1 and Figure 1.
"""

import keras
import numpy as np

from keras_gradlayer import data, pictures
from keras_gradlayer.data import GaussianMixture
from keras_gradlayer.experiments.vanishing_gradients import train_critic

TOYS = {
    "eight Gaussians": data.EIGHT_GAUSSIANS,
    "25 Gaussians": data.TWENTY_FIVE_GAUSSIANS,
}


def divergences(mixture: GaussianMixture, theta: float) -> tuple[float, float]:
    """KL(p ‖ q) and JS(p, q), in nats, of a mixture p in the plane and q, p moved by (θ, 0).

    By sums over a grid of spacing σ / 4, which such smooth functions leave exact to rounding.
    """
    centers, s = np.asarray(mixture.centers, "float64"), float(mixture.stddev)
    sides = [
        np.arange(low - 8 * s, high + 8 * s, s / 4)
        for low, high in (
            (centers[:, 0].min() + min(theta, 0), centers[:, 0].max() + max(theta, 0)),
            (centers[:, 1].min(), centers[:, 1].max()),
        )
    ]
    p, q = (_log_density(centers + [move, 0.0], s, *sides) for move in (0.0, theta))
    m, cell = np.logaddexp(p, q) - np.log(2), (s / 4) ** 2

    def kl(a, b):
        return float(np.sum(np.exp(a) * (a - b)) * cell)

    return kl(p, q), (kl(p, m) + kl(q, m)) / 2


def _log_density(centers, s, x, y):
    found = np.full((len(x), len(y)), -np.inf)
    for a, b in centers:
        squares = (x[:, None] - a) ** 2 + (y[None, :] - b) ** 2
        found = np.logaddexp(found, -squares / (2 * s**2))
    return found - np.log(len(centers) * 2 * np.pi * s**2)


def learned(theta: float, updates: int = 600) -> tuple[float, float]:
    """W and JS of two parallel lines at a distance of θ, as trained critics estimate them."""
    w, v = (
        train_critic(objective, updates, updates // 20, theta=theta)["value"][-5:].mean()
        for objective in ("wasserstein", "minimax")
    )
    return float(w), float((v + np.log(4)) / 2)


def run(path):
    """Plot W, KL and JS against θ, for two parallel lines and two toys, into a PNG file."""
    thetas = np.linspace(-1, 1, 81)
    with pictures.figure(path, 12, 3.6, 1, 3) as [axes]:
        lines, *toys = axes
        lines.plot(thetas, np.where(thetas == 0, 0, np.log(2)), color="C1", label="JS")
        lines.set(title="two parallel lines (KL = ∞)")
        for theta in (0.1, 0.5, 0.9):
            keras.utils.set_random_seed(0)
            for i, value in enumerate(learned(theta)):
                lines.plot(theta, value, "o", color=f"C{i}")
        for ax, (name, mixture) in zip(toys, TOYS.items()):
            kl, js = np.transpose([divergences(mixture, theta) for theta in thetas])
            ax.plot(thetas, js, color="C1", label="JS")
            ax.plot(thetas, kl, color="C2", label="KL")
            ax.set(title=name)
        for ax in axes:
            ax.plot(thetas, np.abs(thetas), color="C0", label="W")
            ax.axhline(np.log(2), color="gray", linewidth=0.8, linestyle=":")
            ax.set(xlabel="θ", ylim=(-0.05, 2))
            ax.legend(fontsize=8)
            ax.grid(alpha=0.3)
