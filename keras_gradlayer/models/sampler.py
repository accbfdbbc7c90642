"""A finished sampler: Algorithm 2 as a plain Keras model."""

import functools
from collections.abc import Callable
from typing import Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks, _random, _xla
from keras_gradlayer._checksum import checksum
from keras_gradlayer._chunking import chunk_rows
from keras_gradlayer._conditions import call, given, pair, spec_of, unpair
from keras_gradlayer._nesting import computes_in
from keras_gradlayer._programs import program
from keras_gradlayer._serialization import Configured
from keras_gradlayer.latents.latent import Latent
from keras_gradlayer.layers import CompressedStack, GradientLayerStack
from keras_gradlayer.layers.frozen_parts import variables_of
from keras_gradlayer.models.conditions import conditions_for
from keras_gradlayer.models.copying import copy_model
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.objectives import Objective


def _once(model, listed):
    stack = getattr(model, "stack", None)  # which comes after the first of Keras' own looks
    return listed if stack is None else stack.beside(listed)


def flow_dtype(*parts: keras.layers.Layer) -> str:
    """What positions are computed in: float64 where a part is of float64, else float32."""
    return "float64" if any(computes_in(part, "float64") for part in parts) else "float32"


def _chunk(x, start, rows):
    """Some rows, the last chunk filled up: another shape would be another program."""
    part = x[start : start + rows]
    return tf.concat([part, tf.repeat(part[:1], rows - len(part), axis=0)], axis=0)


def _copies(base, critic, head, latent):
    """Copies of the three, each built for what comes before it."""
    given = spec_of(base, critic, head)
    base = copy_model("base", base, latent.shape, given)
    flow_shape = _checks.output_shape(base, latent.shape, condition=given)[1:]
    head = copy_model("head", head, flow_shape, given)
    sample_shape = _checks.output_shape(head, flow_shape, condition=given)[1:]
    return base, copy_model("critic", critic, sample_shape, given), head


@keras.saving.register_keras_serializable("keras_gradlayer")
class Sampler(Configured, _xla.AutoXLA, keras.Model):
    """Latent to sample: base, then a stack of gradient layers, then head.

    `FineTuner.sampler()` gives one: a plain Keras model that holds all it needs and trains nothing.

    Source: Nitanda & Suzuki, AISTATS 2018, Algorithm 2. The noise of layers with a temperature
    follows from the latent, so that each latent has one sample.

    Args:
        base: g2, a Keras model from the latent space to the space of the gradient layers.
        stack: a `GradientLayerStack` on that space, whose head g1 leads on to the data space.
        latent: the latent distribution, from `kgl.latents`.
        copies: whether `copy` copies base, head and critic, or shares them.
        **kwargs: the arguments of every Keras model (`name`).

    Call arguments:
        z: latents of shape (batch, *latent.shape); of a conditional sampler also [z, condition].
        layers: how many gradient layers to apply, as for `GradientLayerStack`; all by default.
        condition: what to sample, for a conditional sampler, (batch, ...): as its generator takes
            it, or integer classes. By default drawn from those of the training data, by the
            latent's own values: a latent gives the same sample in any batch.

    Input shape: (batch, *latent.shape). Output shape: (batch, *sample shape).

    Attributes:
        head: g1, the stack's.
        depth: how many layers are stacked.
        step_sizes: η of each, float64 of shape (depth,).
        sample_shape: the shape of one sample.
        conditions: those of the training data, of a conditional sampler; else `None`.

    Example:
        >>> generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
        >>> sampler = kgl.refine(generator, kgl.models.mlp_critic((2,)), step_size=0.1, steps=3)
        >>> z = sampler.latent.sample(5, seed=0)
        >>> sampler.predict(z, verbose=0).shape, sampler(z, layers=0).shape
        ((5, 2), TensorShape([5, 2]))
    """

    _PARTS = ("base", "stack", "latent")

    def __init__(
        self,
        base: keras.Model,
        stack: GradientLayerStack,
        latent: Latent,
        copies: bool = True,
        **kwargs,
    ):
        _checks.instance_of("base", base, keras.layers.Layer, "a Keras model")
        _checks.instance_of("stack", stack, GradientLayerStack, "a GradientLayerStack")
        _checks.instance_of("latent", latent, Latent, "a distribution of kgl.latents")
        super().__init__(autocast=False, **kwargs)  # the parts have policies of their own
        self.base, self.stack, self.head, self.latent = base, stack, stack.head, latent
        self._copies = copies
        base.trainable = stack.head.trainable = False
        self._draw: Callable | None = None  # the program of predict
        self.conditions = conditions_for(base, stack.potential, stack.head)
        self.condition_spec = spec_of(base, stack.potential, stack.head)
        samples = self(pair(keras.KerasTensor((None, *latent.shape)), self.condition_spec))
        self.sample_shape = tuple(samples.shape[1:])
        self._chunk = chunk_rows(self.sample_shape)

    @classmethod
    def copy_of(
        cls,
        base: keras.Model,
        critic: keras.Model,
        head: keras.Model,
        latent: Latent,
        step_size: float,
        max_layers: int,
        steps_per_layer: int = 1,
        dtype: str | keras.DTypePolicy | None = None,
        objective: str | Objective = "wasserstein",
        **stack,
    ) -> Self:
        """A sampler of copies of these parts, with room for layers and none stacked."""
        base, critic, head = _copies(base, critic, head, latent)
        dtype = dtype or flow_dtype(base, head, critic)
        layers = GradientLayerStack(
            critic, step_size, max_layers, head, steps_per_layer, objective, dtype=dtype, **stack
        )
        return cls(base, layers, latent)

    def copy(self) -> Self:
        """A sampler of the same layers that shares nothing with this one, if it copies."""
        if isinstance(self.stack, CompressedStack):
            return self._with(CompressedStack, precision=self.stack.precision)
        return self._with(GradientLayerStack)

    def compress(self, precision: str = "int8") -> Self:
        """A copy whose critics are kept as differences of few bits.

        Use it to store and serve a finished sampler: it saves, exports and replays like this one,
        in fewer bytes and with samples a little moved. `CompressedStack` says how. The critic that
        was stacked last is kept as it is.

        Args:
            precision: of the differences, `"int8"`, `"int4"` or `"bfloat16"`.

        Raises:
            ValueError: for another precision, a sampler without layers, or one compressed before.

        Example:
            >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
            >>> sampler = kgl.refine(None, critic, step_size=0.1, steps=5)
            >>> small = sampler.compress("int8")
        """
        if not self.depth or not self._copies or isinstance(self.stack, CompressedStack):
            received = "one compressed before" if self.depth else "one without layers"
            if not self._copies:
                received = "one of FineTuner(..., copy=False), whose critic is the tuner's"
            raise ValueError(
                "Expected a sampler that has layers, a critic of its own, and is not compressed. "
                f"Received: {received}"
            )
        return self._with(CompressedStack, precision=precision)

    def _with(self, kind, **settings):
        """A sampler of the same layers in a stack of that kind."""
        stack = self.stack
        names = "step_size", "steps_per_layer", "objective", "temperature", "penalty"
        settings |= {name: getattr(stack, name) for name in names}
        settings |= {"dtype": stack.dtype_policy, "max_layers": max(self.depth, 1)}
        parts = self.base, stack.potential, self.head
        base, critic, head = _copies(*parts, self.latent) if self._copies else parts
        if kind is not type(stack):  # compressed layers differ from the last critic
            values = stack.values(self.depth - 1)
            for v, value in zip(variables_of(critic), values, strict=True):
                v.assign(value)
        twin = type(self)(base, kind(critic, head=head, **settings), self.latent, self._copies)
        twin.stack.copy_history(stack)
        if self.conditions is not None and twin.conditions is not None:
            twin.conditions.set_weights(self.conditions.get_weights())
        return twin

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables, each once."""
        return _once(self, super().variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """All weights, each once."""
        return _once(self, super().weights)

    @property
    def depth(self) -> int:
        """How many layers are stacked."""
        return self.stack.depth

    @property
    def step_sizes(self) -> np.ndarray:
        """η of each layer, float64 of shape (depth,)."""
        return self.stack.step_sizes

    def fingerprint(self) -> int:
        """A checksum of all that samples depend on: equal for flows of equal weights."""
        return self.stack.fingerprint(before=checksum(self.base.variables + self.head.variables))

    def output_range(self) -> tuple[float, float]:
        """The range of the output activation, where it can be seen."""
        return output_range(self.head)

    @property
    def jit_compile(self) -> bool:
        """Whether XLA compiles it; when that is set, `predict` makes its program anew."""
        return super().jit_compile

    @jit_compile.setter
    def jit_compile(self, value: bool | None) -> None:
        self._jit, self._draw = value, None

    def compiled_parts(self) -> list[keras.layers.Layer]:
        """Base, critic and head."""
        return [self.base, self.stack.potential, self.head]

    @property
    def trainable(self) -> bool:
        """Never: setting it, on this or an outer model, does not thaw the parts."""
        return False

    @trainable.setter
    def trainable(self, value):
        pass

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the parts, each for what the one before gives out."""
        shape = (None, *self.latent.shape)
        x = call(self.base, keras.KerasTensor(shape), self.condition_spec)
        x = self.stack(x, **self.given(self.condition_spec))
        call(self.head, x, self.condition_spec)
        self.built = True

    def given(self, condition: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """The argument `condition` of the stack, if it takes one."""
        takes = spec_of(self.stack.potential, self.head) is not None
        return {"condition": condition} if takes else {}

    def call(
        self,
        z: tf.Tensor,
        layers: int | tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Replay `layers` gradient layers, all by default."""
        z, condition = given(self, z, condition)
        _checks.latents(z, self.latent.shape)
        x = self.positions(pair(z, condition), layers)
        return call(self.head, x, condition, training=False)

    def positions(self, z: tf.Tensor, layers: int | tf.Tensor | None = None) -> tf.Tensor:
        """Where latents, or (latents, conditions), stand after the layers, in their space."""
        z, condition = unpair(z)
        x, given = call(self.base, z, condition, training=False), self.given(condition)
        if self.stack.temperature:
            given["seeds"] = _random.row_seeds(z)  # latents are the same in every batch
        return self.stack(x, layers=layers, **given)

    def predict(
        self,
        x: ArrayLike | tf.data.Dataset,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        **kwargs,
    ) -> np.ndarray:
        """Samples of latents, as `predict` of every Keras model gives them.

        An array goes straight to the compiled model, many times as fast for few rows, in chunks
        that bound the memory.

        Args:
            x: latents (n, *latent.shape), for a conditional sampler also [latents, conditions],
                or what else Keras takes.
            batch_size: for arrays, rows at a time; by default 512 of CIFAR-10's size.
            verbose: as Keras has it.
            **kwargs: `steps` and `callbacks`, as Keras has them.
        """
        strategy = tf.distribute.get_strategy()
        one = strategy.num_replicas_in_sync == 1
        if x is None or isinstance(x, (str, bytes, int, float)):
            raise TypeError(
                f"`x` must be latents, an array of shape (n, {str(self.latent.shape)[1:]}, or what "
                f"else Keras takes. Received: x={x!r}"
            )
        x, condition = unpair(x)
        if kwargs or not hasattr(x, "shape") or self.run_eagerly or not one:
            return super().predict(pair(x, condition), batch_size, verbose, **kwargs)
        if not tf.is_tensor(x):
            x = tf.convert_to_tensor(_checks.array("x", x, "latents, an array of floats"))
        if not x.shape.rank or not len(x):
            raise ValueError(
                f"Latents must have the shape (n, {str(self.latent.shape)[1:]}, with n of at "
                f"least 1. Received: {tuple(x.shape)}"
            )
        _checks.latents(x, self.latent.shape)
        rows = self._chunk if batch_size is None else batch_size
        # A power of two for few rows: each number of rows is a program of its own.
        n, few = len(x), 2 ** (len(x) - 1).bit_length()
        x = pair(*given(self, x, condition))
        rows = min(_checks.positive_int("batch_size", rows), few)
        if self._draw is None:
            draw = program(lambda z: self(z), jit_compile=self.jit_compile)
            self._draw = lambda z: draw(z)  # a tf.function would be saved with the model
        bar = keras.utils.Progbar(-(-n // rows), verbose=1 if verbose == "auto" else verbose)
        found = []
        for start in range(0, n, rows):
            part = keras.tree.map_structure(functools.partial(_chunk, start=start, rows=rows), x)
            found.append(self._draw(part)[: n - start].numpy())
            bar.add(1)
        return np.concatenate(found)
