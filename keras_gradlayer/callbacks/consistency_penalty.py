"""The consistency term of CT-GAN."""

import keras
import tensorflow as tf

from keras_gradlayer import _checks, _random
from keras_gradlayer._conditions import call
from keras_gradlayer._nesting import nested_layers
from keras_gradlayer.callbacks.step_callback import StepCallback
from keras_gradlayer.models._graph import Graph, is_graph

_STOCHASTIC = (  # spatial dropout is a Dropout
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianNoise,
)


class ConsistencyPenalty(StepCallback):
    """Keeps the critic Lipschitz near the data: two passes with dropout should agree.

    Adds `weight * E max(0, (f(x') − f(x''))² + 0.1 · mean (φ(x') − φ(x''))² − margin)` to the
    critic's loss. x' and x'' are two passes of one real sample with different dropout, and φ is
    what the critic's last layer is given, the last that does more than reshape or select. Use it
    beside `GradientPenalty`.

    With a `stddev` it adds `weight * E max(0, |f(x1) − f(x2)| / ‖x1 − x2‖ − margin)` instead: x1
    and x2 are one real sample with Gaussian noise twice. The critic then needs no dropout, and may
    be any Keras model; if it has some, both passes are made without.

    Source: Wei et al., "Improving the Improved Training of Wasserstein GANs", ICLR 2018. Eq. (4) is
    the bound on |f(x1) − f(x2)| / ‖x1 − x2‖ for pairs near the data, the form with `stddev`; the
    noise is a choice of ours, since the paper leaves the pairs open there. Eq. (5) is what it
    trains with, two passes with dropout in the place of two points, by distances of f and of 0.1 φ:
    the form without, with the squares and the mean over features of its published code. λ2 = 2 and,
    in its experiments, M' between 0 and 0.2. `ratio` is Eq. (4) for given pairs.

    Args:
        weight: λ2, non-negative.
        margin: M', non-negative.
        stddev: σ of the noise, in units of the data; `None` for dropout.

    Raises:
        ValueError: if a number is negative or not finite, or, for the form with dropout, the critic
            has none, is neither Functional nor Sequential, or does not end with one layer of one
            input.

    Example:
        >>> callbacks = [kgl.callbacks.GradientPenalty(10.0), ConsistencyPenalty(weight=2.0)]
    """

    def __init__(self, weight: float = 2.0, margin: float = 0.0, stddev: float | None = None):
        super().__init__()
        self.weight = _checks.positive_number("weight", weight, zero_ok=True)
        self.margin = _checks.positive_number("margin", margin, zero_ok=True)
        self.stddev = None if stddev is None else _checks.positive_number("stddev", stddev)

    def set_model(self, model: keras.Model) -> None:
        """Join the trainer's step, if its critic has what this needs."""
        critic = None if self.stddev else getattr(model, "critic", None)
        layers = [] if critic is None else nested_layers(critic)
        random = [layer for layer in layers if isinstance(layer, _STOCHASTIC)]
        if critic is not None and not any(map(_strength, random)):
            which = "has them with a rate of 0" if random else "has none"
            raise ValueError(
                "ConsistencyPenalty compares two passes with different dropout. Expected a critic "
                f"with keras.layers.Dropout in it. Received: '{critic.name}', which {which}"
            )
        if critic is not None:
            _features_and_score(critic)
        super().set_model(model)

    def critic_loss(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """The weighted term, a scalar."""
        if self.stddev:
            return self.weight * self._slope(real)
        both = _features_and_score(self.model.critic)
        condition = self.conditions[0]
        (features_1, scores_1), (features_2, scores_2) = (
            call(both, real, condition, training=True) for _ in "12"
        )
        distance = _mean_square(scores_1, scores_2) + 0.1 * _mean_square(features_1, features_2)
        return self.weight * tf.reduce_mean(tf.nn.relu(distance - self.margin))

    def _slope(self, real):
        """Eq. (4), of noisy pairs."""
        noise = tf.shape(real), self.model.seed_generator, self.stddev, real.dtype
        pair = [real + _random.normal(*noise) for _ in "12"]
        critic, condition = self.model.critic, self.conditions[0]
        scores = [tf.cast(call(critic, x, condition, training=False), "float32") for x in pair]
        return self.ratio(*scores, *(tf.cast(x, "float32") for x in pair), self.margin)

    @staticmethod
    def ratio(
        scores_1: tf.Tensor,
        scores_2: tf.Tensor,
        x_1: tf.Tensor,
        x_2: tf.Tensor,
        margin: float = 0.0,
    ) -> tf.Tensor:
        """Eq. (4), E max(0, |f(x1) − f(x2)| / ‖x1 − x2‖ − M') for given pairs, a scalar.

        Args:
            scores_1: f(x1), shape (batch,) or (batch, 1).
            scores_2: f(x2).
            x_1: samples of shape (batch, ...); one that equals its partner counts as no slope.
            x_2: their partners.
            margin: M'.
        """
        rise = tf.abs(tf.reshape(scores_1, [-1]) - tf.reshape(scores_2, [-1]))
        run = tf.norm(tf.reshape(x_1 - x_2, (tf.shape(x_1)[0], -1)), axis=1)
        return tf.reduce_mean(tf.nn.relu(tf.math.divide_no_nan(rise, run) - margin))


def _strength(layer):
    return getattr(layer, "stddev" if isinstance(layer, keras.layers.GaussianNoise) else "rate")


def _features_and_score(critic):
    """A model that gives φ and f: what the layer that makes the score is given, and the score."""
    if not is_graph(critic):
        raise ValueError(
            "ConsistencyPenalty needs what the last layer is given. Expected a Functional or "
            f"Sequential critic. Received: '{critic.name}' of type {type(critic).__name__}"
        )
    graph = Graph(critic)
    ends = graph.ends(graph.output)
    calls = [call_ for call_ in map(graph.call_of, ends) if call_ is not None]
    given = [x for call_ in calls for x in call_.inputs]
    if len(given) != 1:
        raise ValueError(
            "ConsistencyPenalty needs what the last layer is given. Expected a critic that ends "
            "with one layer of one input, such as a Dense. Received: "
            f"'{critic.name}', whose score is made of {len(given)} tensors"
        )
    (last,), (features,), (score,) = calls, given, ends
    if is_graph(last.layer):  # a model inside the model: φ is in there
        args, kwargs = last.arguments
        features, score = _features_and_score(last.layer)(*args, **kwargs)
    return keras.Model(graph.inputs, [features, graph.replay({id(ends[0]): score})])


def _mean_square(a, b):
    """The mean square difference of each row."""
    squares = tf.square(tf.cast(a, "float32") - tf.cast(b, "float32"))
    return tf.reduce_mean(tf.reshape(squares, (tf.shape(squares)[0], -1)), axis=1)
