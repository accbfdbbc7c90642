"""What a sampler's SavedModel says of itself."""

import json
import math
import os
import pathlib

import keras
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer._version import __version__
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.serving.signatures import Source
from keras_gradlayer.serving.versions import find_version

FILE = "assets.extra/sampler.json"
_NEEDED = ("latent", "depth", "step_sizes", "sample_shape", "data_range")


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


def read_metadata(path: str | os.PathLike) -> dict:
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
        facts = json.loads(file.read_text())
    except ValueError as e:  # of no JSON, or no text
        raise ValueError(f"{file} is damaged. Expected JSON. Received: {e}") from e
    if not isinstance(facts, dict):
        raise ValueError(f"{file} is damaged. Expected a JSON object. Received: {facts!r}"[:300])
    return facts


def checked_facts(path: str | os.PathLike) -> tuple[dict, Latent]:
    """What `read_metadata` gives, and its latent, after a look at what samples are drawn by.

    Raises:
        ValueError: also where something is missing, or is not what it should be.
        TypeError: for a latent that is none.
    """
    facts = read_metadata(path)
    if missing := [name for name in _NEEDED if name not in facts]:
        raise ValueError(
            f"{find_version(path) / FILE} must have {', '.join(_NEEDED)}. "
            f"Received: one without {', '.join(missing)}"
        )
    depth = _checks.positive_int("depth", facts["depth"], zero_ok=True)
    sizes = facts["step_sizes"]
    if not isinstance(sizes, list) or len(sizes) != depth:
        raise ValueError(
            f"`step_sizes` must be one for each of depth={depth} layers. "
            f"Received: step_sizes={sizes!r}"
        )
    for size in sizes:
        _checks.positive_number("step_sizes", size)
    if facts.get("steps_per_layer") is not None:
        _checks.steps("steps_per_layer", facts["steps_per_layer"])
    _checks.sample_shape("sample_shape", facts["sample_shape"])
    bounds = facts["data_range"]
    if not (isinstance(bounds, list) and len(bounds) == 2 and None in bounds):
        _checks.value_range("data_range", bounds)
    try:
        latent = keras.saving.deserialize_keras_object(facts["latent"])
    except Exception as e:  # a config that need not be one raises anything
        raise ValueError(
            "`latent` must be the config of a distribution of kgl.latents. "
            f"Received: latent={facts['latent']!r}"[:300]
        ) from e
    _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
    return facts, latent
