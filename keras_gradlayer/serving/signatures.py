"""A sampler's signatures: what a model server can be asked for."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks, _images, _random
from keras_gradlayer._conditions import call, pair, spec_of
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import GradientLayerStack
from keras_gradlayer.models.conditions import standard_inputs
from keras_gradlayer.models.output_range import output_range


class Source(NamedTuple):
    """What is served of a model, whichever kind it is; its functions use the model's variables."""

    generate: Callable  # (z, condition) -> samples; with a stack also (z, condition, layers)
    score: Callable | None  # (samples, condition) -> scores
    latent: Latent
    stack: GradientLayerStack | None
    depth: int
    sample_shape: tuple[int, ...]
    data_range: tuple[float, float]
    condition: keras.KerasTensor | None = None  # what a conditional model takes
    scored_condition: bool = False  # whether its score takes one, too
    draw_conditions: Callable | None = None  # seeds -> the conditions of the data, where known


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
    assumed = own is None and latent is None
    condition = getattr(model, "condition_spec", None)
    if own is None:
        model, _, condition = standard_inputs(model)
    latent = own or latent or default_latent(model)
    _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
    sample_shape = _sample_shape(model, latent, condition)
    if assumed and len(latent.shape) > 1 and sample_shape == (1,):
        raise ValueError(
            "Expected a sampler, tuner, GAN or generator. "
            f"Received: '{model.name}', which gives one number for an image, as critics do"
        )
    if stack is None:
        depth, generate = 0, _once(model)
        critic = _own(model, "critic", keras.layers.Layer) if own else None
        score = critic and functools.partial(call, critic)
        scored = spec_of(critic) is not None
        ends = (_own(model, "generator", keras.Model) if own else None) or model
    else:
        depth, ends, scored = stack.depth, model.head, spec_of(stack.potential) is not None
        base, head = _once(model.base), _once(model.head)

        def generate(z, condition=None, layers=None):
            seeds = _random.row_seeds(z) if stack.temperature else None
            z = base(z, condition)
            moved = stack.call(z, layers, condition=condition, seeds=seeds) if depth else z
            return head(moved, condition)

        def score(x, condition=None):
            return stack.score(x, depth - 1 if depth else None, condition)

    known = condition is not None and getattr(model, "conditions", None)
    return Source(
        generate,
        score,
        latent,
        stack,
        depth,
        sample_shape,
        output_range(ends) if data_range is None else _bounds(data_range),
        condition,
        scored,
        known.draw if known and known.known else None,
    )


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

    given = []  # a conditional model's last input
    if source.condition is not None:
        spec = source.condition
        given = [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, "condition")]
    scored = given if source.scored_condition else []

    def traced(*specs):  # what another signature calls is in the graph once
        def trace(function):
            @functools.wraps(function)
            def checked(*inputs):  # a server checks names and types alone
                inputs = [tf.ensure_shape(x, spec.shape) for x, spec in zip(inputs, specs)]
                return function(*inputs)

            return tf.function(checked, input_signature=specs, autograph=False)

        return trace

    @traced(latents, *given)
    def serving_default(latent, *condition):
        samples = source.generate(_rows(latent, *condition), *condition)
        return {"samples": tf.cast(samples, "float32")}

    @traced(seeds, *given)
    def sample(seed, *condition):
        return serving_default(source.latent.sample_rows(seed), *condition)

    @traced(latents, depths, *given)
    def sample_layers(latent, layers, *condition):
        latent = _rows(latent, layers, *condition)
        if not source.depth:
            return serving_default(latent, *condition)  # all depths are clamped to 0
        samples = source.generate(latent, *condition, layers=layers)
        return {"samples": tf.cast(samples, "float32")}

    @traced(samples, *scored)
    def score(samples, *condition):
        # Never one row alone: for that TensorFlow has other kernels, which round differently.
        given = _rows(samples, *condition), *condition
        more = [tf.concat([x, x[:1]], axis=0) for x in given]
        scores = tf.reshape(tf.cast(source.score(*more), "float32"), [-1])
        return {"score": scores[:-1]}

    @traced(seeds, *given)
    def image(seed, *condition):
        return {"image_bytes": encode_images(sample(seed, *condition)["samples"], images)}

    @traced(seeds)
    def conditions(seed):
        return {"condition": source.draw_conditions(_rows(seed))}

    functions = [serving_default, sample, sample_layers]
    if source.score is not None:
        functions.append(score)
    if images is not None:
        functions.append(image)
    if source.draw_conditions is not None:
        functions.append(conditions)
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

    def run(x, condition=None):
        return call(model, x, condition, training=False)

    return tf.function(run, autograph=False)


def _rows(x, *beside):
    """`x`, if it has rows, and what stands beside it as many: one alone would be broadcast.

    With none, convolutions on a CPU fail with errors that say nothing.
    """
    n = tf.shape(x)[0]
    checks = [tf.debugging.assert_positive(n, "Expected one or more rows. Received: 0")]
    for other in beside:
        said = "Expected as many rows of each input. Received: others"
        checks.append(tf.debugging.assert_equal(tf.shape(other)[0], n, said))
    with tf.control_dependencies(checks):
        return tf.identity(x)


def _sample_shape(model, latent, condition):
    try:
        samples = model(pair(keras.KerasTensor((None, *latent.shape)), condition))
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
