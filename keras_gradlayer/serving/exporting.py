"""One SavedModel from a sampler, for TensorFlow Serving."""

import logging
import math
import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.serving.batching import write_batching
from keras_gradlayer.serving.metadata import facts_of, write_metadata
from keras_gradlayer.serving.signatures import finished, make_signatures, source_of
from keras_gradlayer.serving.verification import verify
from keras_gradlayer.serving.versions import choose_version, local_path, write_version
from keras_gradlayer.serving.warmup import write_warmup

_MOST_SIZES = 100


def export_sampler(
    model: keras.Model,
    path: str | pathlib.Path,
    version: int | None = None,
    *,
    latent: Latent | None = None,
    data_range: tuple[float, float] | None = None,
    allowed_batch_sizes: Sequence[int] = (1, 8, 64),
    scores: Mapping[str, float] | None = None,
) -> pathlib.Path:
    """Write a sampler as one SavedModel that a stock TensorFlow Serving loads and batches.

    It holds the generator and the whole critic history, in a graph whose size does not depend on
    the number of layers, and needs TensorFlow alone. Its signatures, each batchable (axis 0 of
    every input and output is the batch, and a row does not depend on the others):

    - `serving_default`: `latent` float32 (n, *latent.shape) -> `samples` float32
    - `sample`: `seed` int64 (n,) -> `samples`; a row is `serving_default` of
      `latent.sample_rows(seed)`
    - `sample_layers`: `latent`, `layers` int32 (n,) -> `samples` after that many gradient layers,
      for each row; clamped to 0 (the generator as it was) ... depth
    - `score`: `samples` -> `score` (n,), by the critic stacked last (for a GAN, its critic)
    - `image`: `seed` -> `image_bytes` (n,), PNG files, for shapes (height, width, 1, 3 or 4)

    A conditional sampler takes `condition` (n, ...) besides in each of these (in `score`, if its
    critic does), and where it knows the conditions of its training data it has

    - `conditions`: `seed` -> `condition`, drawn from them; a row follows from its seed alone

    The version is renamed into place once it is complete and `verify` finds nothing that would
    break. `assets.extra` holds warm-up requests for each signature and batch size, and the metadata
    (see `read_metadata`); `batching_params.pbtxt` has the batch sizes for the server.

    Source: Nitanda & Suzuki, AISTATS 2018, Algorithm 2, as a SavedModel.

    Args:
        model: a `FineTuner`, a `GAN`, a sampler, or any Keras model that maps latents to samples.
        path: the model's folder, with a subfolder for each version; created if missing.
        version: a number; the next free one by default. An existing one is never overwritten.
        latent: the latent distribution, for Keras models that have none of their own; by default a
            standard normal in the shape of the model's input.
        data_range: (low, high) of the samples, for PNG files and the metadata; read off the output
            activation by default, and (-1, 1) for PNG files where that has no bounds.
        allowed_batch_sizes: the batches the server may form, increasing. It pads a batch to the
            next of them, and refuses requests of more rows than the last.
        scores: the samples' quality for the metadata, such as `{"frechet_distance": 15.4}`.

    Returns:
        The version's folder.

    Raises:
        TypeError: if `model` is not a Keras model, or `latent` not a latent distribution.
        ValueError: if `path` is not a model folder or has that version, an argument is out of
            range, or the exported model would not work in a server.
        OSError: if the files cannot be written. No error leaves anything behind.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
        >>> folder = export_sampler(kgl.GAN(generator, critic), tmp_path / "sampler")
        >>> folder.name
        '1'
    """
    path = local_path(path)
    sizes = _increasing(allowed_batch_sizes)
    choose_version(path, version)
    given = {} if scores is None else scores
    values = given.values() if isinstance(given, Mapping) else [None]
    if not all(isinstance(v, (int, float, np.number)) and math.isfinite(v) for v in values):
        raise ValueError(f"`scores` must be finite numbers by name. Received: scores={scores!r}")
    source = source_of(finished(model), latent, data_range)
    if source.stack is not None and not source.depth:
        said = "has no gradient layers: what is exported is the generator as it was."
        _checks.warn(f"'{model.name}' {said}")
    module, signatures = tf.Module(), make_signatures(source)
    _checks.finite_weights("model", signatures["sample"].variables)
    # The variables that are computed with; others, such as the critic in training, stay behind.
    used = {id(v): v for f in signatures.values() for v in f.variables}
    module.weights = list(used.values())
    facts = {
        **facts_of(source),
        "name": model.name,
        "allowed_batch_sizes": sizes,
        "scores": {name: float(value) for name, value in (scores or {}).items()},
    }

    def write(folder):
        _save(module, folder, signatures)
        write_metadata(folder, facts)
        write_batching(folder, sizes)
        write_warmup(folder, path.name, signatures, sizes)
        wrong = [f.message for f in verify(folder) if f.breaks]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise ValueError(
                f"'{model.name}' would not work in TensorFlow Serving, and was not exported: "
                f"{wrong[0]}{more}"
            )

    return write_version(path, version, write)


def _save(module, folder, signatures):
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.WARNING)  # it tells of each file it writes
    try:
        tf.saved_model.save(module, str(folder), signatures)
    except tf.errors.OpError as e:
        raise OSError(f"The model could not be written to {folder.parent}: {e.message}") from e
    except AssertionError as e:
        raise ValueError(
            "Expected a model that computes with variables alone. Received one with another "
            f"resource, such as a lookup table: {str(e).strip().splitlines()[0]}"
        ) from e
    finally:
        logger.setLevel(level)


def _increasing(sizes):
    known = isinstance(sizes, (tuple, list, np.ndarray))
    sizes = [_checks.positive_int("allowed_batch_sizes", n) for n in sizes] if known else sizes
    if not known or not 1 <= len(sizes) <= _MOST_SIZES or sizes != sorted(set(sizes)):
        raise ValueError(
            f"`allowed_batch_sizes` must be 1 to {_MOST_SIZES} increasing integers. "
            f"Received: allowed_batch_sizes={sizes}"
        )
    return sizes
