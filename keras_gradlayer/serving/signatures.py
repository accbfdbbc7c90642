"""A sampler's signatures: what a model server can be asked for."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks, _images
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import GradientLayerStack
from keras_gradlayer.models.latent_inputs import has_latents, one_latent
from keras_gradlayer.models.output_range import output_range


class Source(NamedTuple):
    """What is served of a model, whichever kind it is; its functions use the model's variables."""

    generate: Callable  # (z) -> samples; with a stack also (z, layers)
    score: Callable | None  # samples -> scores
    latent: Latent
    stack: GradientLayerStack | None
    depth: int
    sample_shape: tuple[int, ...]
    data_range: tuple[float, float]


def source_of(
    model: keras.Model,
    latent: Latent | None = None,
    data_range: tuple[float, float] | None = None,
) -> Source:
    """Take apart a FineTuner, a Sampler, a GAN or any latent -> sample Keras model.

    Nothing is copied: what the source generates follows the model. Raises as `export_sampler`.
    """
    _checks.instance_of("model", model, keras.Model, "a FineTuner, a GAN or another Keras model")
    own, stack = _own(model, "latent", Latent), _own(model, "stack", GradientLayerStack)
    if own is not None and latent is not None:
        raise ValueError(
            "`latent` is for Keras models that have none of their own. "
            f"Received: latent={latent!r} beside {own!r}, that of '{model.name}'"
        )
    if own is None and latent is None and has_latents(model):
        model = one_latent(model)
    assumed = own is None and latent is None
    latent = own or latent or default_latent(model)
    _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
    sample_shape = _sample_shape(model, latent)
    if assumed and len(latent.shape) > 1 and sample_shape == (1,):
        raise ValueError(
            "Expected a sampler, tuner, GAN or generator. "
            f"Received: '{model.name}', which gives one number for an image, as critics do"
        )
    if stack is None:
        depth, generate = 0, _once(model)
        score = _own(model, "critic", keras.layers.Layer) if own else None
        ends = (_own(model, "generator", keras.Model) if own else None) or model
    else:
        depth, ends = stack.depth, model.head
        base, head = _once(model.base), _once(model.head)

        def generate(z, layers=None):
            z = base(z)
            return head(stack.call(z, layers) if depth else z)

        def score(x):
            return stack.score(x, layer=depth - 1 if depth else None)

    data_range = output_range(ends) if data_range is None else _bounds(data_range)
    return Source(generate, score, latent, stack, depth, sample_shape, data_range)


def finished(model: keras.Model) -> keras.Model:
    """A FineTuner's sampler, a copy with no room for more layers; any other model as it is."""
    tuner = hasattr(model, "sampler") and _own(model, "stack", GradientLayerStack) is not None
    return model.sampler() if tuner else model


def make_signatures(source: Source) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """The signatures by name, each with the batch as axis 0 of all it takes and gives.

    No XLA: a stock server does not have it switched on.
    """
    images = image_range(source.sample_shape, source.data_range)
    latents = tf.TensorSpec((None, *source.latent.shape), "float32", "latent")
    seeds = tf.TensorSpec((None,), "int64", "seed")
    depths = tf.TensorSpec((None,), "int32", "layers")
    samples = tf.TensorSpec((None, *source.sample_shape), "float32", "samples")

    def traced(*specs):  # what another signature calls is in the graph once
        return functools.partial(tf.function, input_signature=specs, autograph=False)

    @traced(latents)
    def serving_default(latent):
        return {"samples": tf.cast(source.generate(_rows(latent)), "float32")}

    @traced(seeds)
    def sample(seed):
        return serving_default(source.latent.sample_rows(seed))

    @traced(latents, depths)
    def sample_layers(latent, layers):
        if not source.depth:
            return serving_default(latent)  # all depths are clamped to 0
        return {"samples": tf.cast(source.generate(_rows(latent), layers), "float32")}

    @traced(samples)
    def score(samples):
        # Never one row alone: for that TensorFlow has other kernels, which round differently.
        more = tf.concat([_rows(samples), samples[:1]], axis=0)
        scores = tf.reshape(tf.cast(source.score(more), "float32"), [-1])
        return {"score": scores[:-1]}

    @traced(seeds)
    def image(seed):
        return {"image_bytes": encode_images(sample(seed)["samples"], images)}

    functions = [serving_default, sample, sample_layers]
    if source.score is not None:
        functions.append(score)
    if images is not None:
        functions.append(image)
    return {f.python_function.__name__: f.get_concrete_function() for f in functions}


def image_range(
    sample_shape: tuple[int | None, ...], data_range: tuple[float, float]
) -> tuple[float, float] | None:
    """The range to draw samples with that are images, `None` for others."""
    if not _images.is_image(sample_shape) or None in sample_shape:
        return None
    return data_range if _images.bounded(data_range) else _images.STANDARD


def encode_images(samples: tf.Tensor, data_range: tuple[float, float]) -> tf.Tensor:
    """Samples in that range as PNG files, a string each."""
    unit = _images.rescaled(_images.channels_last(samples), data_range, (0, 1))
    pixels = tf.cast(tf.round(255 * tf.clip_by_value(unit, 0, 1)), "uint8")
    return tf.io.encode_png(pixels)


def _own(model, name, kind):
    """A part of the trainers and samplers here, not what others call by the same name."""
    part = getattr(model, name, None)
    return part if isinstance(part, kind) else None


def _once(model):
    """A model in inference mode, in the graph once however often it is called."""
    return tf.function(lambda x: model(x, training=False), autograph=False)


def _rows(x):
    """`x`, if it has rows; with none, convolutions on a CPU fail with errors that say nothing."""
    check = tf.debugging.assert_positive(tf.shape(x)[0], "Expected one or more rows. Received: 0")
    with tf.control_dependencies([check]):
        return tf.identity(x)


def _sample_shape(model, latent):
    try:
        samples = model(keras.KerasTensor((None, *latent.shape)))
    except Exception as e:
        raise ValueError(
            f"'{model.name}' does not take latents of shape {latent.shape}. It said: {e}"
        ) from e
    if not isinstance(samples, keras.KerasTensor) or len(samples.shape) < 2:
        raise ValueError(
            f"Expected a model that gives one tensor of samples, shape (batch, ...). "
            f"Received: '{model.name}', which gives {samples}"
        )
    return tuple(samples.shape[1:])


def _bounds(data_range):
    try:
        low, high = (float(b) for b in data_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not low < high or not np.isfinite([low, high]).all():
        raise ValueError(
            "`data_range` must be two finite numbers, the smaller first. "
            f"Received: data_range={data_range!r}"
        )
    return low, high
