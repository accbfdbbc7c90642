"""The two pieces of calculus every part of the package shares: input gradients and their norms."""

import tensorflow as tf

from keras_gradlayer import _backend


def input_gradient(f, x):
    """Gradient of `f`'s per-sample scores with respect to the input, one row a sample.

    The scores are summed before they are differentiated, so row i of the result is the
    gradient of f(x_i) whatever else is in the batch.

    Args:
        f: callable, (batch, ...) -> (batch,) or (batch, 1).
        x: tensor of shape (batch, ...).

    Returns:
        A tensor with the shape of `x`.
    """
    if _backend.name() == "jax":
        import jax

        return jax.grad(lambda x: f(x).sum())(x)
    if _backend.name() == "torch":
        import torch

        flows_on = x.requires_grad and torch.is_grad_enabled()
        with torch.enable_grad():
            point = x if x.requires_grad else x.detach().requires_grad_()
            [gradient] = torch.autograd.grad(f(point).sum(), point, create_graph=flows_on)
        return gradient
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        scores = f(x)
    return tape.gradient(scores, x, unconnected_gradients="zero")


def sample_norm(g):
    """Euclidean norm of each sample over all its non-batch axes, shape (batch,).

    Computed in at least float32, since squares leave the range of float16 early. The gradient
    at a zero norm is zero rather than NaN.
    """
    g = tf.cast(g, tf.float64 if g.dtype == tf.float64 else tf.float32)
    squared = tf.reduce_sum(tf.square(g), axis=tuple(range(1, g.shape.rank)))
    positive = squared > 0
    # Both branches of a `where` are differentiated: keep the unused one away from sqrt(0).
    return tf.where(positive, tf.sqrt(tf.where(positive, squared, 1.0)), 0.0)
