"""Conditional GANs: their models in one form, and the conditions that their data have."""

import re
from collections.abc import Mapping, MutableMapping
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer._conditions import spec_of
from keras_gradlayer._random import split_mix
from keras_gradlayer.models._graph import Graph, is_graph
from keras_gradlayer.models.latent_inputs import has_latents, one_latent

Generator = TypeVar("Generator", bound="keras.Model | None")
_MOST_ROWS = 4096
_MOST_BYTES = 2**26
_NAME = re.compile("label|class|cond|digit|categor|source", re.IGNORECASE)
_OTHER = {
    "sample": re.compile("sample|target|real|fake|generated", re.IGNORECASE),
    "latent": re.compile("latent|noise|^z$", re.IGNORECASE),
}
_NO_NAME = re.compile(r"(keras_tensor|input|input_layer)(_?\d+)?(:\d+)?")  # Keras' own


def standard_inputs(
    generator: Generator, critic: keras.Model | None = None, join_latents: bool = True
) -> tuple[Generator, keras.Model, keras.KerasTensor | None]:
    """A GAN's models as they are used here: of z or [z, condition], and of x or [x, condition].

    Keras models take lists, tuples and dicts in any order; these share their layers and weights. A
    generator of the condition alone gets a latent of shape (0,) besides. Several latents, such as
    style and noise, become one.

    Args:
        generator: the generator.
        critic: the critic, `None` for a generator alone.
        join_latents: whether several latents become one.

    Returns:
        Generator, critic, and what a condition looks like, `None` where there is none.

    Raises:
        ValueError: if it cannot be told which input is which, or a model has several outputs.
    """
    for model in (generator, critic):
        if len(outputs := getattr(model, "outputs", None) or ()) > 1:
            raise _checks.StructureError(model, "output", outputs)
    critic_inputs = list(getattr(critic, "inputs", None) or ())
    inputs = list(getattr(generator, "inputs", None) or ())
    likely = [x for x in inputs if _is_condition(x)]
    if join_latents and len(critic_inputs) < 2 and not likely and has_latents(generator):
        return one_latent(generator), critic, None
    if len(critic_inputs) > 2 or len(inputs) > 2:
        critic_has = len(critic_inputs) > 2
        model, found = (critic, critic_inputs) if critic_has else (generator, inputs)
        raise _checks.StructureError(model, "input", found)
    if len(critic_inputs) == 2:
        if generator is None or not is_graph(generator):
            raise _checks.StructureError(critic, "input", critic_inputs)
        shape = tuple(generator.outputs[0].shape[1:])
        samples = [x for x in critic_inputs if tuple(x.shape[1:]) == shape]
        if not samples:
            raise ValueError(
                f"`critic` does not take samples of shape {shape}, which is what it would be "
                f"given. It takes {' and '.join(str(tuple(x.shape[1:])) for x in critic_inputs)}"
            )
        (other,) = (x for x in critic_inputs if x is not samples[0])
        alike = [x for x in inputs if x.shape[1:] == other.shape[1:]]
        if not alike or not is_graph(critic):
            raise _checks.StructureError(critic, "input", critic_inputs)
        sample = samples[0]
        if len(samples) > 1:
            sample = _by_name("critic", "sample", samples, inputs)
        (condition,) = (x for x in critic_inputs if x is not sample)
        critic = _ordered(critic, [sample, condition])
        given = alike[0]
        if len(alike) > 1:
            latent = _by_name("generator", "latent", alike, [condition])
            (given,) = (x for x in alike if x is not latent)
    elif len(inputs) == 2:
        given = likely[0] if len(likely) == 1 else inputs[1]
    else:
        return generator, critic, None
    if len(inputs) == 1:
        return _with_no_latent(generator), critic, given
    (latent,) = (x for x in inputs if x is not given)
    return _ordered(generator, [latent, given]), critic, given


def _is_condition(x):
    """Whether an input looks like classes rather than noise."""
    return "int" in x.dtype or tuple(x.shape[1:]) in ((), (1,)) or bool(_NAME.search(x.name))


def _by_name(part, what, inputs, theirs):
    """Which of two inputs of one shape is the sample or latent, beside conditions named `theirs`.

    Names tell, or integers: any choice would run, and the wrong one train on nonsense.
    """
    theirs = {x.name for x in theirs if not _NO_NAME.fullmatch(x.name)}

    def says(x):
        given = "int" in x.dtype or x.name in theirs or bool(_NAME.search(x.name))
        return bool(_OTHER[what].search(x.name)) - given

    first, second = map(says, inputs)
    if first == second:
        shape = tuple(inputs[0].shape[1:])
        raise ValueError(
            f"`{part}` takes two inputs of shape {shape}. Expected names that tell the {what} from "
            f"the condition, as 'condition' does: keras.Model([a, b], {part}([a, b])) with "
            f"b = keras.Input({shape}, name='condition'), and so for a, in the order that it has. "
            f"Received: inputs of the names {inputs[0].name!r} and {inputs[1].name!r}"
        )
    return inputs[0] if first > second else inputs[1]


def _ordered(model, inputs):
    as_it_is = isinstance(model.input, list) and [id(x) for x in model.input] == list(
        map(id, inputs)
    )
    return model if as_it_is else _same(model, inputs, model.outputs[0])


def _with_no_latent(generator):
    """A generator of [z, condition] whose z has no entries; their sum, 0, connects it."""
    graph, z = Graph(generator), keras.Input((0,), name="no_latent")
    old = graph.inputs
    condition = keras.Input(old.shape[1:], dtype=old.dtype, name=old.name)
    zero = keras.ops.reshape(keras.ops.sum(z, axis=-1), [-1] + [1] * (len(old.shape) - 1))
    output = graph.replay({id(old): condition + keras.ops.cast(zero, old.dtype)})
    return _same(generator, [z, condition], output)


def _same(model, inputs, output):
    twin = keras.Model(inputs, output, name=model.name)
    twin.dtype_policy = model.dtype_policy
    twin.trainable = model.trainable
    return twin


class Conditions(keras.layers.Layer):
    """The conditions of the data, to draw from where none is given.

    All of them where they are few, as classes are; else a random part, of at most 4,096 rows and
    64 MB. They are saved with the model.

    Args:
        shape: shape of one condition.
        dtype: its dtype.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str):
        super().__init__(name="conditions", trainable=False)
        size = max(1, int(np.prod(shape)) * tf.as_dtype(dtype).size)
        most = int(np.clip(_MOST_BYTES // size, 1, _MOST_ROWS))

        def weight(name, shape, dtype):
            return self.add_weight(
                shape=shape, dtype=dtype, initializer="zeros", autocast=False, name=name
            )

        self.values = weight("values", (most, *shape), dtype)
        self.frequencies = weight("frequencies", (most,), "int64")
        self.built = True

    @property
    def known(self) -> int:
        """How many there are, 0 before any data were seen."""
        with tf.init_scope():  # also asked while a function is traced
            return int(np.count_nonzero(self.frequencies.numpy()))

    def learn(self, rows: ArrayLike) -> None:
        """Take the distribution of these rows, each a condition."""
        rows = np.asarray(rows)
        values, frequencies = np.unique(rows, axis=0, return_counts=True)
        most = self.frequencies.shape[0]
        if len(values) > most:
            chosen = np.random.default_rng(0).choice(len(rows), most, replace=False)
            values, frequencies = rows[np.sort(chosen)], np.ones(most, "int64")
        for variable, found in ((self.values, values), (self.frequencies, frequencies)):
            room = np.zeros((most, *found.shape[1:]), found.dtype)
            room[: len(found)] = found
            variable.assign(room)

    def all_rows(self) -> np.ndarray:
        """The conditions that were learnt, as often as they were met."""
        frequencies = self.frequencies.numpy()
        return np.repeat(self.values.numpy(), frequencies, axis=0)

    def learn_more(self, rows: ArrayLike) -> None:
        """Take these rows to those that are known, until there are as many as there is room for."""
        frequencies = self.frequencies.numpy()
        if frequencies.sum() < len(frequencies):
            self.learn(np.concatenate([self.all_rows(), np.asarray(rows)]))

    def draw(self, seeds: ArrayLike) -> tf.Tensor:
        """The condition of each seed, shape (n, *shape)."""
        return tf.gather(self.values.value, self.rows(seeds))

    def of(self, z: ArrayLike) -> tf.Tensor:
        """The condition of each latent: drawn at random, but by the latent's own values alone."""
        bits = tf.bitcast(tf.cast(z, "float32"), "int32")
        bits = tf.cast(tf.reshape(bits, [tf.shape(bits)[0], -1]), "int64")
        places = tf.bitwise.left_shift(
            tf.range(tf.shape(bits, "int64")[1]), tf.constant(32, "int64")
        )
        return self.draw(tf.reduce_sum(_random_bits(places + bits), axis=1))

    def rows(self, seeds: ArrayLike) -> tf.Tensor:
        """Which of the values belongs to each seed, int64 of shape (n,)."""
        ends = tf.cumsum(self.frequencies.value)
        drawn = _random_bits(seeds) % tf.maximum(ends[-1], 1)
        return tf.searchsorted(ends, drawn, side="right", out_type="int64")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Nothing to compute."""
        return x

    def save_own_variables(self, store: MutableMapping) -> None:
        """Save those that are known."""
        for name in ("values", "frequencies"):
            store[name] = getattr(self, name).numpy()[: self.known]

    def load_own_variables(self, store: Mapping) -> None:
        """Load them."""
        frequencies = np.asarray(store["frequencies"])
        for variable, found in ((self.values, store["values"]), (self.frequencies, frequencies)):
            room = np.zeros(variable.shape, variable.dtype)
            room[: len(frequencies)] = np.asarray(found)
            variable.assign(room)


def _random_bits(seeds):
    """63 random bits for each seed."""
    words = split_mix(tf.bitcast(tf.cast(seeds, "int64"), "uint64"))
    return tf.bitcast(tf.bitwise.bitwise_and(words, tf.constant(2**63 - 1, "uint64")), "int64")


def conditions_for(*parts: keras.layers.Layer) -> Conditions | None:
    """Room for the conditions that the parts take, `None` if they take none."""
    spec = spec_of(*parts)
    return None if spec is None else Conditions(tuple(spec.shape[1:]), spec.dtype)
