"""What a FineTuner is made of: copies of a GAN's parts, cut where the gradient layers go."""

import logging
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _backend, _checks, objectives
from keras_gradlayer._conditions import call, spec_of
from keras_gradlayer._gradients import input_gradient
from keras_gradlayer._nesting import nested_layers
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import GradientLayerStack
from keras_gradlayer.models.conditions import standard_inputs
from keras_gradlayer.models.copying import copy_model
from keras_gradlayer.models.logits import gives_probabilities, without_sigmoid
from keras_gradlayer.models.sampler import Sampler, flow_dtype
from keras_gradlayer.models.splitting import cut, place_of

_log = logging.getLogger(__name__)


def make_flow(
    generator: keras.Model | None,
    critic: keras.Model,
    insert: str,
    latent: Latent | None,
    output_activation: str | Callable | None,
    objective: str | objectives.Objective,
    copy: bool = True,
    **stack,
) -> tuple[keras.Model | None, Sampler, str]:
    """Copy a GAN's parts, by default, and put an empty stack of gradient layers between them.

    Args:
        generator: as for `FineTuner`, and so the next five.
        critic: the critic.
        insert: where the gradient layers go.
        latent: the latent distribution.
        output_activation: the head.
        objective: the game.
        copy: whether generator and critic are copied, or used themselves.
        **stack: what else `GradientLayerStack` takes.

    Returns:
        The generator's copy, frozen and of one latent input; the flow, whose stack has the
        critic's copy as its potential; and the place, where `insert` was "auto".
    """
    _backend.need_tensorflow("A sampler")
    _checks.instance_of("critic", critic, keras.layers.Layer, "a Keras model")
    if generator is not None:
        _checks.instance_of("generator", generator, keras.layers.Layer, "a Keras model or None")
    generator, critic, condition = standard_inputs(generator, critic)
    if latent is None:
        latent = default_latent(critic if generator is None else generator)
    _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
    for name, part in (("generator", generator), ("critic", critic)):
        _checks.finite_weights(name, getattr(part, "variables", ()))
    if generator is not None:
        if copy:
            generator = copy_model("generator", generator, latent.shape, condition)
        generator.trainable = False
    if insert == "auto":
        own = not _checks.among(output_activation, ("auto",))
        insert = "top" if own else place_of(generator)
    base, head = cut(generator, insert, latent, output_activation)
    flow_shape = _checks.output_shape(base, latent.shape, condition=condition)[1:]
    sample_shape = _checks.output_shape(head, flow_shape, condition=condition)[1:]
    _checks.scores_shape("critic", critic, sample_shape, condition=condition)
    if copy:
        critic = copy_model("critic", critic, sample_shape, condition)
    critic, objective = _in_game(critic, objective)
    if objective.logits and gives_probabilities(critic, sample_shape):
        raise ValueError(
            "`critic` only gives scores between 0 and 1, and has no sigmoid at its end that could "
            "be taken off. Expected scores without bounds (logits): make a critic up to what comes "
            "before its last activation, as keras.Model(critic.inputs, ...); or, for labels of 0 "
            f"and 1, objective='least_squares'. Received: objective={objective.name!r}"
        )
    _checks.rows_independent("critic", critic, sample_shape, condition)
    dtype = flow_dtype(base, head, critic)
    layers = GradientLayerStack(critic, head=head, dtype=dtype, objective=objective, **stack)
    return generator, Sampler(base, layers, latent, copies=copy, name="flow"), insert


def copies_to_play(
    generator: keras.Model, critic: keras.Model, objective: str, latent: Latent | None
) -> tuple[keras.Model, keras.Model, keras.Model]:
    """Copies of a GAN's generator and critic, and the critic as a game has it.

    That gives logits where the objective is about those; its weights are in the copy's order.
    """
    for name, part in (("generator", generator), ("critic", critic)):
        _checks.instance_of(name, part, keras.layers.Layer, "a Keras model")
    generator, critic, condition = standard_inputs(generator, critic)
    z = (latent or default_latent(generator)).shape
    generator = copy_model("generator", generator, z, condition)
    x = _checks.output_shape(generator, z, condition=condition)[1:]
    critic = copy_model("critic", critic, x, condition)
    for part in (generator, critic):
        if not part.trainable_variables:  # as a frozen generator
            for layer in [part, *nested_layers(part)]:
                layer.trainable = True
    played = without_sigmoid(critic) if objectives.get(objective).logits else None
    return generator, critic, critic if played is None else played


def _in_game(critic, objective):
    """The critic as the objective has it, logits where it is about those, and the objective."""
    auto = _checks.among(objective, ("auto",))
    objective = objectives.get("minimax" if auto else objective)
    logits = without_sigmoid(critic) if objective.logits else None
    if logits is None:
        return critic, objectives.get("wasserstein") if auto else objective
    logits.name = critic.name
    _log.info(
        "The critic's final sigmoid is taken off: its scores are logits, for objective='%s'.",
        objective.name,
    )
    return logits, objective


def trains_as_followed(critic: keras.Model, sample_shape: tuple[int, ...]) -> bool:
    """Have the critic's training mode be the function that gradient layers follow, and log how.

    Batch normalization keeps the statistics that it has. Any other layer that is another function
    in training, such as a custom one with batch statistics, is found by its values. Those that are
    so by chance, and spectral normalization, are as they should be.

    Returns:
        Whether it is; otherwise the critic is to train in inference mode.
    """
    frozen = freeze_statistics(critic)
    if frozen:
        _log.info("The critic trains with the statistics it has, in %s.", ", ".join(frozen))
    x, condition = tf.random.stateless_normal((4, *sample_shape), seed=(0, 1)), spec_of(critic)
    if condition is not None:
        condition = tf.zeros((4, *condition.shape[1:]), condition.dtype)

    def score(x, training):
        return tf.reshape(call(critic, x, condition, training=training), [-1])

    values = [tf.identity(v) for v in critic.variables]
    try:
        mixed = input_gradient(lambda x: score(x, True)[:1], x)[1:]
        one, two, followed = (score(x, training).numpy() for training in (True, True, False))
    finally:
        for v, value in zip(critic.variables, values):
            v.assign(value)
    spectral = keras.layers.SpectralNormalization
    expected = not np.array_equal(one, two) or any(
        isinstance(layer, spectral) for layer in nested_layers(critic)
    )
    same = expected or np.allclose(one, followed, rtol=1e-4, atol=1e-6)
    if same and not tf.reduce_any(mixed != 0):
        return True
    _log.info(
        "The critic trains in inference mode, the function that the layers follow: in training "
        "mode '%s' is another, as with statistics of the batch.",
        critic.name,
    )
    return False


def is_frozen(layer: keras.layers.Layer) -> bool:
    """Whether this is batch normalization whose statistics alone are frozen, as below."""
    known = isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable
    return known and any(v.trainable for v in layer.variables)


def freeze_statistics(critic: keras.Model) -> list[str]:
    """Have batch normalization use the statistics it has; the names of the layers changed.

    What is trained is then the function that the gradient layers follow. Scale and offset train on.
    """
    found = []
    for layer in nested_layers(critic):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.trainable = False
            for v in layer.variables:
                v.trainable = v is not layer.moving_mean and v is not layer.moving_variance
            found.append(layer.name)
    return found
