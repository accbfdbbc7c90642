"""What a sampler's SavedModel says of itself."""

import json
import math
import pathlib

import keras
import tensorflow as tf

from keras_gradlayer._version import __version__
from keras_gradlayer.serving.signatures import Source
from keras_gradlayer.serving.versions import find_version

FILE = "assets.extra/sampler.json"


def facts_of(source: Source) -> dict:
    """What samples depend on besides their seeds and the weights, as JSON can hold it."""
    stack, given = source.stack, source.condition
    return {
        "versions": package_versions(),
        "step_size": stack and stack.step_size,
        "step_sizes": stack.step_sizes.tolist() if stack else [],
        "depth": source.depth,
        "steps_per_layer": stack and stack.steps_per_layer,
        "latent": keras.saving.serialize_keras_object(source.latent),
        "latent_shape": list(source.latent.shape),
        "condition_shape": None if given is None else list(given.shape[1:]),
        "sample_shape": list(source.sample_shape),
        "data_range": [b if math.isfinite(b) else None for b in source.data_range],
    }


def package_versions() -> dict:
    """The versions of what makes and runs a model."""
    return {
        "keras_gradlayer": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


def write_metadata(folder: pathlib.Path, facts: dict) -> None:
    """Write the facts beside the model."""
    (folder / FILE).parent.mkdir(exist_ok=True)
    (folder / FILE).write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")


def read_metadata(path: str | pathlib.Path) -> dict:
    """What `export_sampler` recorded about a model.

    Args:
        path: a SavedModel folder, or a model folder, for its newest version.

    Returns:
        A dict: `versions` of packages, `name`, `step_size` (η), `step_sizes` (η of each layer),
        `depth`, `steps_per_layer`, `latent` (a Keras config), `latent_shape`, `condition_shape`
        (null for a sampler without conditions), `sample_shape`, `data_range` (null for no bound),
        `allowed_batch_sizes` and `scores`.

    Raises:
        ValueError: if there is no SavedModel, or one without metadata.

    Example:
        >>> read_metadata(folder)["sample_shape"]
        [2]
    """
    file = find_version(path) / FILE
    if not file.is_file():
        raise ValueError(
            f"Expected a SavedModel made by `export_sampler`, with {FILE}. "
            f"Received: {file.parents[1]}"
        )
    try:
        return json.loads(file.read_text())
    except json.JSONDecodeError as e:
        raise ValueError(f"{file} is damaged: {e}") from e
