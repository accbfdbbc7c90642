"""Discriminator optimal transport."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._gradients import sample_norm
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.rivals._candidates import without_conditions
from keras_gradlayer.trainers._parts import make_flow

_PAIRS = 10_000


def dot(
    generator: keras.Model | None,
    critic: keras.Model,
    step_size: float,
    steps: int,
    insert: str = "bottom",
    lipschitz: float | str = "auto",
    latent: Latent | None = None,
    output_activation: str | Callable | None = "auto",
) -> Sampler:
    """A sampler that transports samples where the critic likes them, but not far.

    Source: Tanaka, "Discriminator optimal transport", NeurIPS 2019, Algorithms 1 and 2:
    argmin over y of ‖y − x‖ − D(y)/K by gradient descent from y = x, where D(y) is the critic's
    score, without a final sigmoid. In the target space, `insert="top"`, y is a sample; in the
    latent space, "bottom", y stands for a latent and the critic sees G(y). Departures: plain steps;
    the latents' gradients are not projected on the sphere.

    Args:
        generator: as for `kgl.FineTuner`.
        critic: the same.
        step_size: of each step of the descent, a positive finite number, in units of y.
        steps: how many, an integer of at least 1.
        insert: "bottom", or another place as for `kgl.FineTuner`.
        lipschitz: K, a positive finite number; "auto" is the paper's, the steepest slope
            |D(x) − D(y)| / ‖x − y‖ between 10,000 pairs of samples, or of their latents.
        latent: as for `kgl.FineTuner`.
        output_activation: as for `kgl.FineTuner`.

    Returns:
        A `kgl.Sampler` that shares nothing with generator and critic.

    Raises:
        ValueError: for numbers out of range, a critic that is flat between samples, a conditional
            GAN with `lipschitz="auto"`, and as for `kgl.FineTuner`.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> sampler = dot(None, critic, step_size=0.05, steps=20, lipschitz=0.5)
        >>> samples = sampler.predict(sampler.latent.sample(8, seed=0), verbose=0)
    """
    step_size = _checks.positive_number("step_size", step_size)
    steps = _checks.positive_int("steps", steps)
    if lipschitz != "auto":
        lipschitz = _checks.positive_number("lipschitz", lipschitz)
    penalty = _Distance(1.0)
    _, flow, _ = make_flow(
        generator,
        critic,
        insert,
        latent,
        output_activation,
        "kl",
        step_size=1.0,  # for K is read off the flow
        max_layers=1,
        steps_per_layer=steps,
        penalty=penalty,
    )
    penalty.weight = _steepest(flow) if lipschitz == "auto" else lipschitz
    # K times the descent's function, with a step of 1/K: D(y) − K ‖y − x‖ is climbed
    flow.stack.append(step_size=steps * step_size / penalty.weight)
    return flow


def _steepest(flow):
    """The steepest slope of the critic between pairs of positions."""
    without_conditions(flow)
    found = 0.0
    for seed in range(_PAIRS // 1000):
        z = tf.cast(flow.positions(flow.latent.sample(2000, seed)), flow.stack.variable_dtype)
        scores = tf.reshape(flow.stack.climbed(z), [-1])
        rise = tf.abs(scores[:1000] - scores[1000:])
        found = max(found, np.max(rise / sample_norm(z[:1000] - z[1000:])))
    if not 0 < found < np.inf:
        raise ValueError(
            "The critic must tell samples apart. Expected scores of a finite slope above 0 between "
            f"them. Received: a slope of {found}"
        )
    return float(found)


@keras.saving.register_keras_serializable("keras_gradlayer", "Distance")
class _Distance:
    """The distance from where a layer started, times a weight."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, z, start):
        return self.weight * tf.cast(sample_norm(z - start), z.dtype)

    def get_config(self):
        return {"weight": self.weight}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
