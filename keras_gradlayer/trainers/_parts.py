"""What a FineTuner is made of: copies of a GAN's parts, cut where the gradient layers go."""

import logging
from collections.abc import Callable

import keras

from keras_gradlayer import _checks
from keras_gradlayer._nesting import nested_layers
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import GradientLayerStack
from keras_gradlayer.models.copying import copy_model
from keras_gradlayer.models.latent_inputs import has_latents, one_latent
from keras_gradlayer.models.sampler import Sampler, flow_dtype
from keras_gradlayer.models.splitting import cut

_log = logging.getLogger(__name__)


def make_flow(
    generator: keras.Model | None,
    critic: keras.Model,
    insert: str,
    latent: Latent | None,
    output_activation: str | Callable | None,
    copy: bool = True,
    **stack,
) -> tuple[keras.Model | None, Sampler]:
    """Copy a GAN's parts, by default, and put an empty stack of gradient layers between them.

    Args:
        generator: as for `FineTuner`, and so the next four.
        critic: the critic.
        insert: where the gradient layers go.
        latent: the latent distribution.
        output_activation: the head.
        copy: whether generator and critic are copied, or used themselves.
        **stack: what else `GradientLayerStack` takes.

    Returns:
        The generator's copy, frozen and of one latent input, and the flow; the critic's copy is
        its stack's potential.
    """
    _checks.instance_of("critic", critic, keras.layers.Layer, "a Keras model")
    if generator is not None:
        _checks.instance_of("generator", generator, keras.layers.Layer, "a Keras model or None")
        if has_latents(generator):
            generator = one_latent(generator)
    if latent is None:
        latent = default_latent(critic if generator is None else generator)
    _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
    if generator is not None:
        if copy:
            generator = copy_model("generator", generator, latent.shape)
        generator.trainable = False
    base, head = cut(generator, insert, latent, output_activation)
    sample_shape = _checks.output_shape(head, _checks.output_shape(base, latent.shape)[1:])[1:]
    _checks.scores_shape("critic", critic, sample_shape)
    if copy:
        critic = copy_model("critic", critic, sample_shape)
    frozen = freeze_statistics(critic)
    if frozen:
        _log.info("The critic trains with the statistics it has, in %s.", ", ".join(frozen))
    _checks.rows_independent("critic", critic, sample_shape)
    dtype = flow_dtype(base, head, critic)
    layers = GradientLayerStack(critic, head=head, dtype=dtype, **stack)
    return generator, Sampler(base, layers, latent, copies=copy, name="flow")


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
