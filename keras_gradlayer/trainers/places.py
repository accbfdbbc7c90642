"""Where the gradient layers of a FineTuner go, by a score."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.metrics.scorer import Scorer
from keras_gradlayer.step_rules import LineSearch
from keras_gradlayer.trainers.fine_tuner import FineTuner


def best_insert(
    generator: keras.Model | None,
    critic: keras.Model,
    scorer: Scorer | Callable[[np.ndarray], dict[str, float]],
    layers: int = 3,
    samples: int = 1000,
    seed: int = 2,
    data: tf.data.Dataset | tuple[np.ndarray, np.ndarray] | None = None,
    monitor: str | Callable[[dict[str, float]], float] | None = None,
    **kwargs,
) -> tuple[str, dict[str, float]]:
    """The place in a generator where layers of its critic, as it is, improve a score most.

    Use it before `FineTuner(generator, critic, insert=place)`, whose `insert="auto"` is a guess by
    the generator's layers: on some GANs moving the latent is better, on others it makes samples
    worse. `keras-gradlayer finetune` does so where it searches the steps of a generator's layers by
    a score.

    The places are that of `insert="auto"`, "top" and "bottom", those that the generator has. At
    each, `kgl.step_rules.LineSearch` stacks layers as long as they help; nothing is trained. A
    departure from Nitanda & Suzuki (2018), who choose between top and bottom by hand.

    Args:
        generator: as for `FineTuner`.
        critic: the same.
        scorer: what samples are judged by, as for `LineSearch`.
        layers: how many layers are stacked at most at a place.
        samples: how many samples to score.
        seed: integer that their latents follow from.
        data: for a conditional GAN, what its conditions are taken from, as for `fit`.
        monitor: which score counts, as for `LineSearch`.
        **kwargs: what else `FineTuner` takes, such as `objective`, `latent`, `steps_per_layer`.

    Returns:
        The place, and the loss at each: the score of the samples that the layers lead to, or minus
        the score where higher is better. Among equals the place of `insert="auto"` comes first.

    Raises:
        ValueError: as for `FineTuner` and `LineSearch`.

    Example:
        >>> generator = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)])
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> place, losses = best_insert(generator, critic, lambda x: {"size": np.abs(x).mean()})
    """
    layers = _checks.positive_int("layers", layers)
    losses: dict[str, float] = {}
    for insert in ("auto", "top", "bottom"):
        rule = LineSearch(scorer, samples=samples, seed=seed, monitor=monitor)
        try:
            tuner = FineTuner(generator, critic, rule, insert, max_layers=layers, **kwargs)
        except ValueError:
            if insert != "auto":  # not every generator has every place
                continue
            raise
        no_latent = insert == "bottom" and (generator is None or 0 in tuner.latent.shape)
        if tuner.insert in losses or no_latent:
            continue
        tuner.compile()
        if data is not None:
            tuner.learn_conditions(data)
        rule.start(tuner)
        while tuner.stack.depth < layers and (step_size := rule.choose(tuner)):
            tuner.stack.append(step_size=step_size)
        losses[tuner.insert] = rule.loss
    return min(losses, key=losses.__getitem__), losses
