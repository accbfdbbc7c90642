"""A model's samples by their seeds, block by block."""

import hashlib
import json
import os
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer._conditions import to_spec
from keras_gradlayer._loading import load_model
from keras_gradlayer._programs import program
from keras_gradlayer.serving import signatures
from keras_gradlayer.serving.clients.local_client import LocalClient
from keras_gradlayer.serving.metadata import checked_facts, facts_of, package_versions

_FACTS = (
    "latent",
    "depth",
    "step_sizes",
    "steps_per_layer",
    "condition_shape",
    "sample_shape",
    "data_range",
)


class SeededSampler:
    """Draws the sample of each seed, the same bytes whatever else is drawn.

    Use it to open a model once for several calls of `write_shard`.

    Samples are computed in whole blocks that begin at multiples of the batch size, since batches of
    other sizes round differently. So their bytes depend on the seed, the model and the batch size,
    with one version of TensorFlow on one kind of processor. On a GPU, call
    `tf.config.experimental.enable_op_determinism()` first: otherwise TensorFlow chooses kernels by
    their speed. It holds for the whole process, so it is left to the caller.

    Args:
        model: a `FineTuner`, a sampler, a `GAN` or any Keras model that maps latents to samples;
            the path of its `.keras` file; or the folder of an exported sampler.
        condition: of a conditional sampler, one condition for all samples; by default each seed
            draws one from those of the training data.

    Raises:
        TypeError: if `model` is none of these.
        ValueError: if there is no such file, or it does not map latents to samples.

    Example:
        >>> sampler = SeededSampler(folder)
        >>> seeds, samples = zip(*sampler.blocks(60, 70, batch_size=64))
        >>> [x.shape for x in samples]
        [(4, 2), (6, 2)]
    """

    def __init__(self, model: keras.Model | str | os.PathLike, condition: ArrayLike | None = None):
        if isinstance(model, (str, os.PathLike)) and str(model).endswith(".keras"):
            if not tf.io.gfile.exists(str(model)):
                raise ValueError(f"There is no file {model}.")
            model = load_model(model)
        if isinstance(model, (str, os.PathLike)):
            facts, self._latent = checked_facts(model)
            self._owner = LocalClient(model).loaded  # functions alone do not keep variables
            self._functions = self._owner.signatures
        else:
            self._owner = signatures.source_of(signatures.finished(model))
            facts = facts_of(self._owner)
            self._functions = signatures.make_signatures(self._owner)
            self._latent = self._owner.latent
        _checks.finite_weights("model", self._functions["sample"].variables)
        low, high = (np.nan if b is None else b for b in facts["data_range"])
        images = signatures.image_range(tuple(facts["sample_shape"]), (low, high))
        self.depth = facts["depth"]
        self.draws_images = images is not None
        drawn = images or (low, high)
        self._encode = program(lambda x: signatures.encode_images(x, drawn))
        facts = {
            "weights": _fingerprint(self._functions["sample"].variables),
            **{key: facts.get(key) for key in _FACTS},
            "condition": None if condition is None else np.asarray(condition).tolist(),
            "versions": package_versions(),
        }
        if images is not None:
            facts["data_range"] = images
        self.facts = json.loads(json.dumps(facts))
        """What samples depend on besides their seeds, as JSON gives it back."""
        self.condition = None
        if condition is not None:
            self.condition = self._one_condition(condition)
        if isinstance(model, (str, os.PathLike)):
            self._compare(model)

    def blocks(
        self,
        start: int,
        stop: int,
        *,
        layers: int | None = None,
        batch_size: int = 64,
        encoded: bool = False,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw the samples of the seeds `start` to `stop - 1`, after `layers` layers or all.

        Yields:
            Seeds, shape (n,), and their samples, shape (n, *sample shape), or if `encoded` as many
            PNG files.

        Raises:
            ValueError: for a `batch_size` or `layers` out of range.
        """
        _checks.positive_int("batch_size", batch_size)
        _checks.seed(start, name="start")
        if stop != start:
            _checks.seed(stop - 1, name="stop - 1")
        if layers is not None:
            _checks.positive_int("layers", layers, zero_ok=True, most=self.depth)
        for first in range(start - start % batch_size, stop, batch_size):
            # Modulo 2**64: a block may begin before the least seed, or end after the greatest.
            seeds = np.arange(batch_size, dtype="uint64") + np.uint64(first % 2**64)
            seeds = seeds.view("int64")
            samples = self._draw(tf.constant(seeds), layers)
            values = (self._encode(samples) if encoded else samples).numpy()
            part = slice(max(start - first, 0), stop - first)
            yield seeds[part], values[part]

    def _draw(self, seeds, layers):
        given = self._conditions(seeds)
        if layers is None:
            return self._functions["sample"](seed=seeds, **given)["samples"]
        latents = self._latent.sample_rows(seeds)
        layers = tf.fill(tf.shape(seeds), layers)
        return self._functions["sample_layers"](latent=latents, layers=layers, **given)["samples"]

    def _compare(self, path):
        """Check that a SavedModel does what its metadata say."""

        def compare(name, said, found):
            if said != found:
                raise ValueError(
                    f"`{name}` in {path}'s sampler.json must be that of its SavedModel, {found}. "
                    f"Received: {name}={said}"
                )

        functions, facts = self._functions, self.facts
        [samples] = functions["sample"].structured_outputs.values()
        compare("sample_shape", tuple(facts["sample_shape"]), tuple(samples.shape[1:]))
        # As many step sizes as layers, in a variable with room for more.
        own = [v for v in functions["sample_layers"].variables if "step_sizes" in v.name]
        steps = [eta for v in own[:1] for eta in v.numpy().tolist() if eta]
        compare("depth", facts["depth"], len(steps))
        compare("step_sizes", facts["step_sizes"], steps)
        expected = functions["serving_default"].structured_input_signature[1]["latent"]
        compare("latent", self._latent.shape, tuple(expected.shape[1:]))
        if facts["condition_shape"] and self.condition is None and "conditions" not in functions:
            return
        seeds = tf.constant([0, 1], "int64")
        drawn = functions["sample"](seed=seeds, **self._conditions(seeds))["samples"]
        latents = self._latent.sample_rows(seeds)
        made = functions["serving_default"](latent=latents, **self._conditions(seeds))["samples"]
        if not np.allclose(drawn, made, rtol=1e-2, atol=1e-3 * np.abs(drawn).max()):
            raise ValueError(
                f"`latent` in {path}'s sampler.json must be that of its SavedModel, which gives "
                f"other samples for the same seeds. Received: latent={self._latent}"
            )

    def _one_condition(self, condition):
        """A condition as the model takes it: of a class, its number or one-hot."""
        inputs = tf.nest.flatten(self._functions["sample"].structured_input_signature)
        found = [spec for spec in inputs if spec.name == "condition"]
        if not found:
            raise ValueError(f"This sampler takes no condition. Received: {condition!r}")
        spec = keras.KerasTensor(found[0].shape, found[0].dtype.name)
        return to_spec(np.asarray(condition)[None], spec)[0]

    def _conditions(self, seeds):
        """The condition of each seed, by name, for a conditional sampler."""
        if not self.facts["condition_shape"]:
            return {}
        if self.condition is not None:
            return {"condition": tf.repeat(self.condition[None], len(seeds), axis=0)}
        if "conditions" not in self._functions:
            raise ValueError(
                "This sampler is conditional, and does not know the conditions of its data. "
                "Expected one `condition` for all, on the command line --label."
            )
        return self._functions["conditions"](seed=seeds)


def _fingerprint(variables):
    """A digest of the weights that does not depend on their order."""
    contents = (f"{v.dtype.name}{tuple(v.shape)}".encode() + v.numpy().tobytes() for v in variables)
    digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    return hashlib.sha256("".join(digests).encode()).hexdigest()
