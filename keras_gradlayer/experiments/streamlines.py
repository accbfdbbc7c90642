"""Where gradient descent leads a GAN of two parameters: D(x) = w x², G(z) = a z.

Data and latents are uniform on [−1, 1], so that (w, a) = (0, 1) is the equilibrium. The Wasserstein
GAN circles around it; with the gradient regulariser it converges.

Source: Nagarajan & Kolter, "Gradient descent GAN optimization is locally stable", NeurIPS 2017,
Figure 3.
"""

import functools
import itertools

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import pictures
from keras_gradlayer.callbacks import GeneratorGradientRegularizer
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.objectives import Objective
from keras_gradlayer.trainers import GAN

OBJECTIVES = {"minimax": "GAN", "wasserstein": "WGAN"}
WEIGHTS = (0.0, 0.25, 0.5, 1.0)
EQUILIBRIUM = np.array([0.0, 1.0])
_POINTS = 200
_RATE = 0.1


class System:
    """The two-parameter GAN, trained by simultaneous gradient steps on the exact expectations.

    Args:
        objective: name of the objective, or an Objective.
        weight: η of the regulariser.
    """

    def __init__(self, objective: str | Objective, weight: float):
        layers, square = keras.layers, keras.layers.Activation(keras.ops.square)
        critic = keras.Sequential([layers.Input((1,)), square, layers.Dense(1, use_bias=False)])
        generator = keras.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
        self._gan = GAN(generator, critic, objective, latent=_Grid((1,)), simultaneous=True)
        sgd = functools.partial(keras.optimizers.SGD, _RATE)
        self._gan.compile(generator_optimizer=sgd(), critic_optimizer=sgd())
        GeneratorGradientRegularizer(weight).set_model(self._gan)
        self._data = _Grid((1,)).sample(_POINTS)
        self._step = tf.function(self._gan.critic_update, autograph=False)

    def velocity(self, point: np.ndarray) -> np.ndarray:
        """d(w, a)/dt at a point (w, a), from one step of the GAN."""
        for model, value in zip((self._gan.critic, self._gan.generator), point, strict=True):
            model.set_weights([np.array([[value]])])
        self._step(self._data)
        after = [m.get_weights()[0].item() for m in (self._gan.critic, self._gan.generator)]
        return (np.array(after) - point) / _RATE

    def trajectory(self, start: np.ndarray, seconds: float) -> np.ndarray:
        """Points (w, a) along the flow from `start`, by Heun's method in steps of 0.1."""
        points = [np.asarray(start, "float64")]
        for _ in range(round(seconds / 0.1)):
            first = self.velocity(points[-1])
            second = self.velocity(points[-1] + 0.1 * first)
            points.append(points[-1] + 0.05 * (first + second))
        return np.array(points)

    def jacobian(self, eps: float = 1e-2) -> np.ndarray:
        """Derivative of the velocity at the equilibrium, by central differences."""
        columns = [
            (self.velocity(EQUILIBRIUM + step) - self.velocity(EQUILIBRIUM - step)) / (2 * eps)
            for step in eps * np.eye(2)
        ]
        return np.stack(columns, axis=1)


def promised_rate(objective: str, weight: float) -> float:
    """The least exponential rate of convergence that the theorems guarantee.

    It is minus the bound on the real parts of the Jacobian's eigenvalues, for this system of one
    parameter a player: K_DD = E x⁴ = 1/5 and K_DG = ∂/∂a E (a z)² = 2/3.

    Source: Nagarajan & Kolter (2017), Theorem 3.1 for "minimax" with a weight of 0, and Theorem 3.2
    for "wasserstein"; they give no rate for others.
    """
    # the first and the second derivative of f at 0
    slope, curvature = {"minimax": (0.5, -0.25), "wasserstein": (1.0, 0.0)}[objective]
    k_dd, k_dg = 1 / 5, 2 / 3
    b = (slope * k_dg) ** 2
    if objective == "minimax":
        a = -2 * curvature * k_dd
        return a / 2 if a**2 < 4 * b else a * b / (a**2 + b)
    return weight * b if weight**2 * b < 1 else 2 * weight * b / (4 * weight**2 * b + 1)


def run(path):
    """Plot the flows of both objectives at four weights of the regulariser, into a PNG file."""
    w, a = np.meshgrid(np.linspace(-2, 2, 17), np.linspace(-0.2, 2.6, 17))
    panels = list(itertools.product(OBJECTIVES, WEIGHTS))
    size, shape = (11, 5.6), (len(OBJECTIVES), len(WEIGHTS))
    with pictures.figure(path, *size, *shape, sharex=True, sharey=True) as axes:
        for ax, (objective, weight) in zip(axes.flat, panels):
            system = System(objective, weight)
            grid = np.stack([w.ravel(), a.ravel()], axis=1)
            speed = np.array([system.velocity(point) for point in grid]).T.reshape(2, *w.shape)
            ax.streamplot(w, a, *speed, density=0.8, linewidth=0.7, arrowsize=0.8)
            ax.plot(*system.trajectory([-1.0, 0.4], 40).T, color="tab:orange", linewidth=1.5)
            ax.plot(*EQUILIBRIUM, "k.")
            rate = -np.linalg.eigvals(system.jacobian()).real.max()
            title = f"{OBJECTIVES[objective]}, η = {weight:g}\nrate {abs(rate):.2f}"
            ax.set_title(title, fontsize=10)
            ax.set(xlabel="w", ylabel="a")
            ax.label_outer()


class _Grid(Latent):
    """Evenly spaced points of [−1, 1] instead of uniform samples."""

    def sample(self, n, seed=None):
        n = tf.cast(n, "float32")
        return ((2 * tf.range(n, dtype="float32") + 1) / n - 1)[:, None]
