"""Layers with live parts are copied, saved and checked as a whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_gradlayer as kgl
from tests import oracles


def model(kind, seed=0):
    keras.utils.set_random_seed(seed)
    f = keras.Sequential([layers.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(1)])
    if kind == "layer":
        last = kgl.layers.GradientLayer(f, 0.5)
    else:
        head = keras.Sequential([layers.Input((3,)), layers.Dense(3, "tanh")])
        last = kgl.layers.GradientLayerStack(f, 0.5, max_layers=2, head=head)
        last.append()
    return keras.Sequential([layers.Input((4,)), layers.Dense(3), last])


X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_clone_model_and_set_weights(kind):
    original = model(kind)
    twin = keras.models.clone_model(original)
    assert not np.allclose(twin(X), original(X), atol=1e-3)
    twin.set_weights(original.get_weights())
    np.testing.assert_array_equal(twin(X), original(X))


@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_tensorflow_checkpoints(kind, tmp_path):
    original, other = model(kind), model(kind, seed=1)
    path = tf.train.Checkpoint(model=original).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other(X), original(X))


@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_a_sampler_of_layers_in_a_clone(kind):
    """Copies of copies, and of models inside models."""
    outer = keras.Sequential([layers.Input((4,)), model(kind), layers.Dense(2)])
    twin = keras.models.clone_model(outer)
    twin.set_weights(outer.get_weights())
    np.testing.assert_array_equal(twin(X), outer(X))


@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_nothing_in_it_is_trainable_anywhere(kind):
    """The potential trains elsewhere, at the same time, and the layer follows it."""
    m = model(kind)
    last = m.layers[-1]
    assert last.potential.trainable_variables  # as it was handed over
    assert last.trainable_variables == []
    assert {v.path for v in m.trainable_variables} == {v.path for v in m.layers[0].variables}
    m.trainable = False
    m.trainable = True
    assert len(m.trainable_variables) == 2
    assert len(m.weights) == 2 + len(last.weights)
    before = m.layers[-1](X[:, :3]).numpy()
    last.potential.set_weights([2 * w for w in last.potential.get_weights()])
    if kind == "layer":
        assert not np.allclose(last(X[:, :3]), before)
    else:  # which replays what was stacked
        np.testing.assert_array_equal(last(X[:, :3]), before)
    frozen = last.weights[-len(last.potential.weights) :] if kind == "layer" else last.weights
    assert any(np.array_equal(a, b) for a in frozen for b in last.potential.weights)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_weights_first_read_under_autocast(kind, built):
    """They are the potential's own values, in its precision, and follow it."""
    keras.utils.set_random_seed(0)
    f = keras.Sequential([layers.Input((3,))] * built + [layers.Dense(8, "tanh"), layers.Dense(1)])
    given = (f, 0.5) if kind == "layer" else (f, 0.5, 2)
    inner = {"layer": kgl.layers.GradientLayer, "stack": kgl.layers.GradientLayerStack}[kind](
        *given
    )

    class Reads(keras.layers.Layer):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.inner = inner

        def call(self, x):
            read = [tf.reduce_sum(tf.cast(w, "float32")) for w in self.weights]
            return self.inner(x) + 0 * tf.add_n([0.0, *read])

    outer = Reads()
    for _ in range(2):
        outer(X[:, :3])
        f.set_weights([w + 1 / 3 for w in f.get_weights()])
        found = inner.get_weights()[-4:] if kind == "layer" else inner.get_weights()
        assert outer.trainable_variables == []
        for w in f.get_weights():
            assert any(w.dtype == v.dtype and np.array_equal(w, v) for v in found)


def tokens():
    argmax = layers.Lambda(lambda x: tf.argmax(x, axis=-1))
    return keras.Sequential([layers.Input((6,)), argmax, layers.Embedding(6, 4), layers.Dense(1)])


def test_scores_that_do_not_depend_on_the_input():
    match = "must depend on its input in a differentiable way"
    for make in (
        lambda f: kgl.layers.GradientLayer(f, 0.1),
        lambda f: kgl.layers.GradientLayerStack(f, 0.1, max_layers=2),
    ):
        with pytest.raises(ValueError, match=match):
            make(tokens())(keras.ops.zeros((3, 6)))
    # connected, if only by weights that are zero as yet
    zero = keras.Sequential([layers.Input((2,)), layers.Dense(1, kernel_initializer="zeros")])
    x = oracles.points(3)
    np.testing.assert_array_equal(kgl.layers.GradientLayer(zero, 0.1)(x), x)


def two(inputs, outputs):
    x = [keras.Input((2,)) for _ in range(inputs)]
    h = layers.Concatenate()(x) if inputs > 1 else x[0]
    return keras.Model(x if inputs > 1 else x[0], [layers.Dense(1)(h) for _ in range(outputs)])


@pytest.mark.parametrize(
    ("potential", "match"),
    [
        (two(1, 2), r"model of one output. .* 2 outputs of shapes \[\(None, 1\), \(None, 1\)\]"),
        (two(2, 1), r"model of one input. .* 2 inputs of shapes \[\(None, 2\), \(None, 2\)\]"),
    ],
)
def test_potentials_of_several_tensors(potential, match):
    x = keras.ops.zeros((3, 2))
    with pytest.raises(ValueError, match=match):
        kgl.layers.GradientLayer(potential, 0.1)(x)
    with pytest.raises(ValueError, match=match):
        kgl.layers.GradientLayerStack(potential, 0.1, 2)(x)
    generator = keras.Sequential([layers.Input((4,)), layers.Dense(2, "tanh")])
    for make in (kgl.GAN, lambda g, c: kgl.FineTuner(g, c, 0.1)):
        with pytest.raises(ValueError, match=match):
            make(generator, potential)


def test_generators_of_several_tensors():
    critic = keras.Sequential([layers.Input((1,)), layers.Dense(1)])
    latent = kgl.latents.Gaussian((2,))
    for make in (
        lambda g: kgl.GAN(g, critic, latent=latent),
        lambda g: kgl.FineTuner(g, critic, 0.1, latent=latent),
    ):
        with pytest.raises(ValueError, match="Expected a model of one output"):
            make(two(1, 2))
    with pytest.raises(ValueError, match="Expected a model of one input"):
        kgl.GAN(two(2, 1), critic, latent=latent)
