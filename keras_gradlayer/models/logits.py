"""Critics whose scores are probabilities, and the logits before them."""

import keras
import numpy as np

from keras_gradlayer._conditions import call, spec_of
from keras_gradlayer.models._graph import Graph, is_graph
from keras_gradlayer.models.splitting import split


def without_sigmoid(critic: keras.Model) -> keras.Model | None:
    """The critic without the sigmoid that it ends with: logits of shape (batch, 1).

    The sigmoid may be fused into the last layer, end an inner model, or be followed by layers that
    reshape the score. It is known by its values, whatever it is called.

    Args:
        critic: a Keras model, sample -> score of shape (batch,) or (batch, 1).

    Returns:
        A model that shares the critic's layers, or `None` where no sigmoid is found.
    """
    if _end(critic) != "activation":
        return None
    base, head = split(critic, "top")
    shape = head.input_shape[1:]
    if None in shape or np.prod(shape) != 1:
        return None  # of several numbers, such as patches that are averaged
    t = np.linspace(-8, 8, 65).reshape(-1, *shape)
    found = np.ravel(keras.ops.cast(head(t, training=False), "float32"))
    if not np.allclose(found, 1 / (1 + np.exp(-t.ravel())), atol=_rounding(head)):
        return None
    if shape == (1,):
        return base
    logits = keras.Model(base.input, keras.layers.Reshape((1,))(base.outputs[0]))
    logits.dtype_policy = base.dtype_policy
    return logits


def gives_probabilities(critic: keras.Model, sample_shape: tuple[int, ...]) -> bool:
    """Whether the scores only lie between 0 and 1.

    A critic that ends with a linear layer may have any score. Of all others, those of random
    samples from moderate to huge are looked at.
    """
    if _end(critic) == "linear":
        return False
    shape = [d or 32 for d in sample_shape]
    rows = np.random.default_rng(0).standard_normal((16, *shape)).astype("float32")
    spec = spec_of(critic)
    given = None if spec is None else np.zeros((16, *spec.shape[1:]), spec.dtype)
    scales = (1.0, 10.0, 100.0)
    found = [call(critic, scale * rows, given, training=False) for scale in scales]
    scores = np.array([keras.ops.cast(scores, "float32") for scores in found])
    return bool(np.all((scores >= 0) & (scores <= 1)) and scores.any())


def _end(critic):
    """The kind of layer that a critic ends with."""
    if not is_graph(critic):
        return "unknown"
    graph = Graph(critic)
    return graph.kind(graph.output)


def _rounding(model):
    return 1e-5 if model.compute_dtype in ("float32", "float64") else 1e-2
