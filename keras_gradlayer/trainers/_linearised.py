"""A critic's scores as a linear function of its variables, exact or linearised."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


def features(critic: keras.Model, x: tf.Tensor) -> list[tf.Tensor]:
    """∇_w F of each sample, one float32 matrix (samples, size) a trainable variable."""

    def one(x):
        with tf.GradientTape() as tape:
            score = critic(x[None], training=False)
        return tape.gradient(score, critic.trainable_variables, unconnected_gradients="zero")

    gradients = tf.vectorized_map(one, x)
    return [tf.cast(tf.reshape(g, (tf.shape(x)[0], -1)), "float32") for g in gradients]


def gram(features: Sequence[tf.Tensor]) -> tf.Tensor:
    """The products of the samples' features, shape (samples, samples)."""
    return tf.add_n([tf.matmul(a, a, transpose_b=True) for a in features])


def weighted_sums(
    features: Sequence[tf.Tensor], weights: tf.Tensor, variables: Sequence[keras.Variable]
) -> list[tf.Tensor]:
    """Σ weights_i a_i over the samples, in the shapes of the variables."""
    sums = [tf.linalg.matvec(a, weights, transpose_a=True) for a in features]
    return [tf.reshape(s, v.shape) for s, v in zip(sums, variables, strict=True)]


def require_linear(critic: keras.Model, sample_shape: tuple[int, ...]) -> None:
    """Check that F at w1 + w2 is the sum of F at w1 and at w2, and that at 0 it is 0."""
    x = tf.random.stateless_normal((8, *sample_shape), seed=(0, 1))
    variables = critic.trainable_variables
    graph = tf.function(critic).get_concrete_function(x, training=False).graph
    outputs = [y.dtype for op in graph.get_operations() for y in op.outputs]
    tolerance = 0.05 if {tf.float16, tf.bfloat16} & set(outputs) else 1e-4

    def value(i, v, seeds):
        draws = [tf.random.stateless_normal(v.shape, (s, i), dtype=v.dtype) for s in seeds]
        return tf.add_n([tf.zeros(v.shape, v.dtype), *draws])

    def scores(*seeds):
        values = [value(i, v, seeds) for i, v in enumerate(variables)]
        with keras.StatelessScope(state_mapping=list(zip(variables, values))):
            return tf.cast(critic(x, training=False), "float32")

    both, apart = scores(1, 2), scores(1) + scores(2)
    size = np.max(np.abs(both))
    if max(np.max(np.abs(both - apart)), np.max(np.abs(scores()))) > tolerance * size:
        raise ValueError(
            "variant='linear' needs a critic whose scores are linear in its trainable "
            "variables. Expected frozen features under a last Dense(1). Received: "
            f"'{critic.name}', whose scores are not"
        )
