"""Scores of streams of samples against real images."""

import dataclasses
import os
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks, _conditions, _images
from keras_gradlayer._conditions import pair, rows, unpair
from keras_gradlayer._programs import program
from keras_gradlayer.latents.gaussian import default_latent
from keras_gradlayer.metrics.classifier_score import classifier_score, split_classifier_score
from keras_gradlayer.metrics.classifiers import Classifier
from keras_gradlayer.metrics.frechet_distance import frechet_distance
from keras_gradlayer.metrics.kernel_distance import kernel_distance
from keras_gradlayer.metrics.precision_recall import PrecisionRecall, precision_recall

BATCH = 250  # images at a time
_FAR = 10.0  # no generator of the classifier's [-1, 1] gives more
DIRECTIONS = {
    **dict.fromkeys(("classifier_score", "classifier_score_splits"), "max"),
    **dict.fromkeys(("frechet_distance", "kernel_distance"), "min"),
    **dict.fromkeys(PrecisionRecall._fields, "max"),
}  # whether higher or lower is better
SCORES = (*DIRECTIONS, "classifier_score_stddev")
DIRECTIONS |= {"intra_class_frechet_distance": "min", "class_accuracy": "max"}  # of labelled ones


@dataclasses.dataclass(frozen=True)
class ScoreReport:
    """Scores, and the conditions under which they compare.

    Attributes:
        scores: floats by name: `classifier_score`, and `classifier_score_splits` and
            `classifier_score_stddev` over ten parts of the samples, `frechet_distance`,
            `kernel_distance`, `precision`, `recall`, `density` and `coverage`. Where samples and
            real images have labels, also `intra_class_frechet_distance`, the mean over the classes
            (Miyato & Koyama, ICLR 2018, section 5.1), and `class_accuracy`, how many samples the
            classifier assigns to the class that they were made for, if it knows as many classes.
        conditions: what must be equal for scores to compare: the numbers of `samples` and of
            `real` images, the `classifier` (by the fingerprint of its weights if it has one), the
            `resizing` of samples and of real images, and a fingerprint of the real features.

    Example:
        >>> before = ScoreReport({"frechet_distance": 10.1}, {"samples": 10_000})
        >>> after = ScoreReport({"frechet_distance": 7.9}, {"samples": 2_000})
        >>> after.differs_from(before)
        ['samples: 2000 and 10000']
    """

    scores: dict[str, float]
    conditions: dict[str, str | int]

    def differs_from(self, other: "ScoreReport") -> list[str]:
        """The conditions in which two reports differ; empty if their scores compare."""
        mine, theirs = self.conditions, other.conditions
        return [
            f"{name}: {mine.get(name)} and {theirs.get(name)}"
            for name in sorted({*mine, *theirs})
            if _compared(name, mine.get(name)) != _compared(name, theirs.get(name))
        ]

    def __str__(self):
        return f"{format_scores(self.scores)}\n{format_conditions(self.conditions)}"


def _compared(name, value):
    """The part of a value to compare: the fingerprint of a classifier "name (fingerprint)"."""
    return value.rpartition(" (")[2] if name == "classifier" and value else value


def format_scores(scores: dict[str, float]) -> str:
    """Scores in a line, such as "classifier score 4.241, Fréchet distance 10.09"."""
    left = dict(scores)
    mean, stddev = (left.pop(f"classifier_score_{k}", None) for k in ("splits", "stddev"))
    parts = {k: f"{k.replace('_', ' ')} {v:.4g}" for k, v in left.items()}
    if stddev is not None:
        parts["classifier_score"] += f" (of parts: {mean:.3f} ± {stddev:.3f})"
    return ", ".join(parts.values()).replace("frechet", "Fréchet")


def format_conditions(conditions: dict[str, str | int]) -> str:
    """Conditions in a line."""
    same = conditions["real_resizing"] == conditions["resizing"]
    line = (
        "{samples:,} samples against {real:,} real images, classifier {classifier}, "
        "resizing: {resizing}"
    ) + ("" if same else ", of the real images: {real_resizing}")
    return line.format(**conditions)


class Scorer:
    """Scores samples against real images, by a classifier.

    Use it to compare samplers, or one sampler at several depths; `kgl.callbacks.Scores` calls it
    during a fit. Images are read batch by batch, and only the classifier's outputs are kept: 4
    bytes a feature, and twice that while batches are concatenated.

    Source: see `classifier_score`, `frechet_distance`, `kernel_distance` and `precision_recall`.

    Args:
        classifier: a `Classifier`, or its `source`: a Keras model, a file or a URL.
        real: real images, preferably held out from training: an array (n, height, width, channels),
            or with the channels first, or an iterable of batches, such as a `tf.data.Dataset`;
            batches that are pairs have labels, integers or one-hot.
        count: maximum number of samples, and of real images.
        value_range: the range of the images, which are mapped from it to the classifier's [-1, 1].

    Call arguments:
        samples: generated images: an array or an iterable of batches, or pairs as above. Warns if
            no value is in the lower half of the range. All scores are NaN if one is not finite.
        value_range: their range, `model.output_range()`; that of the real images by default.

    Raises:
        TypeError: if images are no arrays, or arrays of integers.
        ValueError: for no images, different shapes, or real images that are not in `value_range`.

    Example:
        >>> images = np.random.default_rng(0).uniform(-1, 1, (40, 8, 8, 1)).astype("float32")
        >>> x = keras.layers.Input((8, 8, 1))
        >>> features = keras.layers.Flatten()(x)
        >>> outputs = {"features": features, "logits": keras.layers.Dense(3)(features)}
        >>> scorer = Scorer(keras.Model(x, outputs), images[:20])
        >>> report = scorer(images[20:])
        >>> report.conditions["samples"]
        20
    """

    def __init__(
        self,
        classifier: Classifier | keras.Model | str | os.PathLike,
        real: ArrayLike | tf.data.Dataset | Iterable,
        count: int = 10_000,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ):
        self.value_range = _range(value_range)
        self.count = _checks.positive_int("count", count)
        if not isinstance(classifier, Classifier):
            classifier = Classifier(classifier)
        self.classifier: Classifier = classifier
        _, self._real, self._labels, shape, low, high = self._outputs(
            "real", real, self.value_range
        )
        least, most = _images.rescaled(np.array([low, high]), self.value_range)
        # Interpolation may overshoot; a set that fills less than a tenth has another range.
        if not (-1.5 <= least < 0 and most <= 1.5 and most - least > 0.2):
            raise ValueError(
                f"`real` must be images in {_interval(self.value_range)}. "
                f"Received: values from {low:.4g} to {high:.4g}"
            )
        self._real_conditions = {
            "real": len(self._real),
            "real_resizing": self.classifier.resizing(_images.channels_last_shape(shape)),
            "real_features": f"mean {self._real.mean(dtype='float64'):.5g}",
        }

    def __call__(
        self,
        samples: ArrayLike | tf.data.Dataset | Iterable,
        value_range: tuple[float, float] | None = None,
    ) -> ScoreReport:
        """Score the first `count` samples."""
        value_range = self.value_range if value_range is None else _range(value_range)
        logits, features, labels, shape, low, high = self._outputs("samples", samples, value_range)
        conditions = self.conditions(len(features), shape)
        if not np.isfinite(high - low + features.sum(dtype="float64")):
            return ScoreReport(dict.fromkeys(SCORES, np.nan), conditions)
        least, most = _images.rescaled(np.array([low, high]), value_range)
        if max(-least, most) > _FAR:
            raise ValueError(
                f"`samples` must be images in {_interval(value_range)}. "
                f"Received: values from {low:.4g} to {high:.4g}"
            )
        if low >= (middle := sum(value_range) / 2):
            _checks.warn(
                f"No sample has a value below {middle:g}. Expected images in "
                f"{_interval(value_range)}. Received: values from {low:.4g} to {high:.4g}"
            )
        splits = split_classifier_score(logits, min(10, len(logits)))
        neighbors = min(5, len(features) - 1, len(self._real) - 1)
        scores = {
            "classifier_score": classifier_score(logits),
            "classifier_score_splits": splits.mean,
            "classifier_score_stddev": splits.stddev,
            "frechet_distance": frechet_distance(self._real, features),
            "kernel_distance": kernel_distance(self._real, features),
            **precision_recall(self._real, features, neighbors)._asdict(),
        }
        if labels is not None and self._labels is not None:
            scores["intra_class_frechet_distance"] = self._intra_class(features, labels)
            if labels.max() < logits.shape[1]:
                scores["class_accuracy"] = float(np.mean(logits.argmax(axis=1) == labels))
        return ScoreReport(scores, conditions)

    def _intra_class(self, features, labels):
        """The mean over the classes of the Fréchet distance within each; of two images or more."""
        found = []
        for label in np.unique(labels):
            real, fake = self._real[self._labels == label], features[labels == label]
            if min(len(real), len(fake)) > 1:
                found.append(frechet_distance(real, fake))
        return float(np.mean(found)) if found else np.nan

    def conditions(self, samples: int, image_shape: tuple[int, ...]) -> dict[str, str | int]:
        """The conditions of a report on so many samples of this shape."""
        return {
            "samples": min(samples, self.count),
            **self._real_conditions,
            "classifier": self.classifier.name,
            "resizing": self.classifier.resizing(_images.channels_last_shape(image_shape)),
        }

    def _outputs(self, name, images, value_range):
        """Logits, features, labels, and the images' shape, lowest and highest value."""
        outputs, labels, shape, low, high = [], [], None, np.inf, -np.inf
        for batch, given in _batches(name, images, self.count, value_range):
            if batch.shape[1:] != (shape or batch.shape[1:]):
                raise ValueError(
                    f"`{name}` must be images of one shape. Received: {shape} and {batch.shape[1:]}"
                )
            shape = batch.shape[1:]
            # NaN propagates through both.
            low, high = np.minimum(low, batch.min()), np.maximum(high, batch.max())
            images = _images.channels_last(_images.rescaled(batch, value_range))
            outputs.append(self.classifier(images))
            labels.append(_classes(given))
        if (found := sum(len(logits) for logits, _ in outputs)) < 2:
            raise ValueError(f"`{name}` must hold two images or more. Received: {found}")
        logits, features = map(np.concatenate, zip(*outputs))
        known = all(part is not None for part in labels)
        labels = np.concatenate(labels) if known else None
        return logits, features, labels, shape, float(low), float(high)


def _range(value_range):
    return _checks.value_range("value_range", value_range)


def _interval(value_range):
    return "[{:g}, {:g}]".format(*value_range)


def sample_batches(
    model: keras.Model, count: int, seed: int = 0, layers: int | None = None
) -> Iterator[np.ndarray]:
    """Samples of a model from `model.latent.sample(count, seed)`, in arrays of up to 250.

    They are in the range of the model, which a `Scorer` is told by `value_range`.
    Those of a conditional model come as (samples, conditions), drawn as its data have them.

    Args:
        model: a sampler, tuner or GAN of this package, or any Keras model of normal latents.
        count: number of samples.
        seed: seed of the latents, an integer.
        layers: number of gradient layers to apply, for a model that has them; all by default.

    Example:
        >>> sampler = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
        >>> [len(x) for x in sample_batches(sampler, 600)]
        [250, 250, 100]
    """
    _checks.instance_of("model", model, keras.Model, "a Keras model")
    _checks.positive_int("count", count)
    if layers is not None:
        _checks.positive_int("layers", layers, zero_ok=True)
    arguments = {} if layers is None else {"layers": layers}
    draw = program(
        lambda z: model(z, training=False, **arguments),
        jit_compile=getattr(model, "stack", None) is not None and model.jit_compile,
        reduce_retracing=True,
    )
    if getattr(model, "latent", None) is None:
        if len(getattr(model, "inputs", None) or [None]) > 1:
            raise ValueError(
                f"'{model.name}' takes {len(model.inputs)} inputs. Expected a model of latents "
                "alone, or a sampler, tuner or GAN of this package, which knows its conditions"
            )
        latents = default_latent(model).sample(count, seed=seed)
    else:
        latents = _conditions.draw(model, count, seed)
    for start in range(0, count, BATCH):
        batch = rows(latents, start, start + BATCH)
        yield pair(draw(batch).numpy(), unpair(batch)[1])


def _batches(name, images, count, value_range):
    """The first `count` images, in small batches, with what stands beside them."""
    expected = "an array of images or an iterable of batches that are arrays of images"
    if isinstance(images, (str, bytes)):
        raise TypeError(f"`{name}` must be {expected}. Received: {images!r}")
    images = [images] if hasattr(images, "shape") else images
    _checks.instance_of(name, images, Iterable, expected)
    left = count
    for batch in images:
        batch, labels = (*batch, None)[:2] if isinstance(batch, tuple) else (batch, None)
        if not hasattr(batch, "shape"):
            received = f"a batch that is a {type(batch).__name__}"
            raise TypeError(f"`{name}` must be {expected}. Received: {received}")
        if tf.as_dtype(batch.dtype).is_integer:
            raise TypeError(
                f"`{name}` must be float images in {_interval(value_range)}. "
                f"Received: {batch.dtype.name}"
            )
        if len(batch.shape) != 4:
            raise ValueError(
                f"`{name}` must be images, (batch, height, width, channels). "
                f"Received: shape {tuple(batch.shape)}"
            )
        for start in range(0, len(batch), BATCH):
            part = batch[start : start + min(BATCH, left)]
            left -= len(part)
            beside = None if labels is None else labels[start : start + len(part)]
            yield np.asarray(part, "float32"), beside
            if not left:
                return


def _classes(labels):
    """Labels as integers (n,), `None` where they do not look like classes."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1 and np.all(np.sort(labels)[:, -2:] == (0, 1)):
        return labels.argmax(axis=1)
    whole = labels.size == len(labels) and np.all(labels == np.round(labels))
    return labels.reshape(-1).astype("int64") if whole else None
