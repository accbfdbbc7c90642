"""What the last gradient layer did, measured."""

import functools

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks
from keras_gradlayer._conditions import rows, to_spec, unpair
from keras_gradlayer._programs import program
from keras_gradlayer.callbacks._watcher import Watcher
from keras_gradlayer.models._followed import CHUNK


class FlowMonitor(Watcher):
    """Logs how far the last layer moved samples, and whether it may have folded them together.

    Use it to choose η: a layer is injective, so that no two samples meet, where ηL < 1. The logs of
    an epoch in which a layer was stacked are:

    - `step_norm`: the mean of ‖G_k(z) − z‖, in the unit of the space of the layers;
    - `flow_gradient`: the mean of ‖∇(φ∘f∘g1)(z)‖, φ being the objective's potential;
    - `lipschitz`: an estimate of L, the Lipschitz constant of ∇(φ∘f∘g1), from below: the largest
      ‖∇(z + d) − ∇(z)‖ / ‖d‖ over the samples, for d as long as the sample's move, by a power
      iteration on secants, which also sees the kinks of piecewise linear critics;
    - `injectivity_margin`: 1 − (η/m)L, of the steps that the layer takes, from above;
    - `heldout_wasserstein`, with `validation_data`: the mean score of held-out data minus that of
      samples that no training saw, by the critic of the layer, before the layer. Where the
      log `wasserstein` is much larger, the critic overfits.

    They are NaN in an epoch without a new layer, and those of the last layer where an epoch stacked
    several. Put the callback before those that read the logs.

    Source: Nitanda & Suzuki, AISTATS 2018, section 3.1; Theorem 1's ‖∇_φ L‖² is the tuner's own
    log `flow_norm`.

    Args:
        validation_data: samples that the critic does not train on, an array or a `tf.data.Dataset`
            of batches, with conditions for a conditional GAN; the first `samples` are used.
        samples: how many latents to follow.
        seed: integer that they follow from.

    Raises:
        TypeError: for another model than a `FineTuner`.
        ValueError: for validation data of another shape than the samples.

    Example:
        >>> tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,)), step_size=0.1)
        >>> tuner.compile()
        >>> x = np.random.default_rng(0).uniform(-1, 1, (300, 2)).astype("float32")
        >>> callbacks = [kgl.callbacks.GradientPenalty(), FlowMonitor(x[256:], samples=44)]
        >>> logs = tuner.fit(x[:256], batch_size=64, callbacks=callbacks, verbose=0).history
        >>> logs["step_norm"][0] > 0
        True
    """

    def __init__(
        self,
        validation_data: ArrayLike | tuple[ArrayLike, ArrayLike] | tf.data.Dataset | None = None,
        samples: int = 1000,
        seed: int = 1,
    ):
        super().__init__(samples, seed)
        self.validation_data = validation_data

    def set_model(self, model: keras.Model) -> None:
        """Check the model, and take the held-out samples."""
        if not hasattr(model, "rollback"):
            raise TypeError(
                f"FlowMonitor is for a kgl.FineTuner. Received: a {type(model).__name__}"
            )
        super().set_model(model)
        self._real = None
        if self.validation_data is not None:
            self._real, self._given = _first_rows(self.validation_data, self.samples, model)
            if not self._real.size or self._real.shape[1:] != tuple(model.sample_shape):
                raise ValueError(
                    "`validation_data` must be samples of the shape that the critic takes, "
                    f"(n, {', '.join(map(str, model.sample_shape))}). "
                    f"Received: {self._real.shape}"
                )
        stack = model.stack

        def measure(values, z, condition, step_size):
            given = {"values": values, "step_size": step_size, "condition": condition}
            follow = functools.partial(stack.follow, **given)
            return _measure(follow, z, step_size / stack.steps_per_layer)

        jit = {"jit_compile": model.jit_compile, "reduce_retracing": True}
        # By the critic as it was stacked, which may have trained on since.
        self._score = program(stack._score_by, **jit)
        self._measure = program(measure, **jit)

    def _begin(self, epoch):
        self._depth = self.model.stack.depth

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measure the last layer, if it is new."""
        stack = self.model.stack
        names = ["step_norm", "flow_gradient", "lipschitz", "injectivity_margin"]
        names += [] if self._real is None else ["heldout_wasserstein"]
        found = dict.fromkeys(names, np.nan)
        if stack.depth > self._depth:
            self._depth = stack.depth
            found = self._measures(stack.depth - 1, float(stack.step_sizes[-1]))
        if logs is not None:
            logs.update(found)

    def _measures(self, layers, step_size):
        eta = tf.constant(step_size, "float32")
        values = self.model.stack.critic_values(layers)
        chunks = self._followed.positions(layers)
        parts = zip(*(self._measure(values, z, c, eta) for z, c in chunks))
        moves, gradients, lipschitz = map(np.concatenate, parts)
        L = float(lipschitz.max())
        found = {
            "step_norm": float(moves.mean()),
            "flow_gradient": float(gradients.mean()),
            "lipschitz": L,
            "injectivity_margin": 1 - step_size / self.model.steps_per_layer * L,
        }
        if self._real is not None:
            starts = range(0, len(self._real), CHUNK)
            batches = [rows((self._real, self._given), i, i + CHUNK) for i in starts]
            real = [self._score(values, x, c) for x, c in batches]
            fake = [self._score(values, *unpair(x)) for x in self._followed.batches(layers)]
            real, fake = np.concatenate(real).mean(), np.concatenate(fake).mean()
            found["heldout_wasserstein"] = float(real - fake)
        return found


def _measure(follow, z, step, iterations=5):
    """Each sample's move, gradient and largest secant slope of the gradient."""

    def norm(v):
        return tf.sqrt(tf.reduce_sum(tf.square(v), list(range(1, v.shape.rank)), keepdims=True))

    moved, g = follow(z)
    # As far as one step, and far enough that the difference is not rounding.
    reach = tf.maximum(tf.cast(step, z.dtype) * norm(g), 1e-3 * (1 + norm(z)))
    direction = g + 1e-12  # any, where there is no gradient
    largest = tf.zeros_like(reach)
    for _ in range(iterations):
        d = reach * direction / norm(direction)
        direction = follow(z + d)[1] - g
        largest = tf.maximum(largest, norm(direction) / reach)
        direction += 1e-12
    return [tf.reshape(v, [-1]) for v in (norm(moved - z), norm(g), largest)]


def _first_rows(data, count, model):
    """Samples, and for a conditional model their conditions."""
    x, condition = _rows(data, count, model)
    x = _checks.array("validation_data", x, "samples, an array or a tf.data.Dataset")
    _checks.finite("`validation_data`", x if x.ndim else x[None])
    return x.astype("float32"), condition


def _rows(data, count, model):
    spec = model.condition_spec
    if isinstance(data, tf.data.Dataset):
        data = data.map(lambda *batch: batch[: 1 if spec is None else 2])
        data = tuple(map(np.array, zip(*data.unbatch().take(count).as_numpy_iterator())))
        data = data if spec is not None else data[0]
    if spec is None:
        known = hasattr(data, "shape") or isinstance(data, (list, tuple))
        return data[:count] if known and np.ndim(data) else data, None
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ValueError(
            "`validation_data` of a conditional GAN must be (samples, conditions). "
            f"Received: {type(data).__name__}"
        )
    return data[0][:count], to_spec(data[1][:count], spec)
