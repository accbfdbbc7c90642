"""A fixed critic, followed without training."""

from collections.abc import Callable

import keras

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.models.sampler import Sampler
from keras_gradlayer.objectives import Objective
from keras_gradlayer.trainers._parts import make_flow


def refine(
    generator: keras.Model | None,
    critic: keras.Model,
    step_size: float,
    steps: int,
    insert: str = "auto",
    objective: str | Objective = "auto",
    latent: Latent | None = None,
    output_activation: str | Callable | None = "auto",
    temperature: float = 0.0,
) -> Sampler:
    """A sampler that moves what a generator gives along a critic as it is, with no training.

    Use it for a first look at what gradient layers make of a GAN, or with a critic that was trained
    for the purpose. The critic is right about the samples that it was trained with; as they move
    away from those, `FineTuner`, which trains it on, goes further.

    Source: Nitanda & Suzuki, AISTATS 2018, Eq. (1), `steps` times with one critic. The critic is
    stored once: the sampler has one layer, of `steps` steps. With a temperature γ it is DGflow
    (Ansari et al., "Refining Deep Generative Models via Discriminator Gradient Flow", ICLR 2021,
    Eq. (8)), `z + η ∇φ(f(z)) + sqrt(2ηγ) ξ`; their KL, JS and log D divergences are the objectives
    "kl", "minimax" and "non_saturating", and they take γ = 0.01. The noise follows from the latent.

    Args:
        generator: as for `FineTuner`, and copied as there.
        critic: the same.
        step_size: η of each step, a positive finite number.
        steps: how many, an integer from 1 to 10,000.
        insert: as for `FineTuner`.
        objective: the game that the critic was trained in, as for `FineTuner`.
        latent: as for `FineTuner`.
        output_activation: as for `FineTuner`.
        temperature: γ of each step's noise, a finite number of at least 0.

    Returns:
        A `kgl.Sampler` that shares nothing with generator and critic.

    Raises:
        ValueError: for numbers out of range, and as for `FineTuner`.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> sampler = refine(None, critic, step_size=0.1, steps=5)
        >>> samples = sampler.predict(sampler.latent.sample(8, seed=0), verbose=0)
    """
    step_size = _checks.positive_number("step_size", step_size)
    steps = _checks.steps("steps", steps)
    _, flow, _ = make_flow(
        generator,
        critic,
        insert,
        latent,
        output_activation,
        objective,
        step_size=steps * step_size,
        max_layers=1,
        steps_per_layer=steps,
        temperature=temperature,
    )
    flow.stack.append()
    return flow
