import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.callbacks.test_gradient_penalty import Trainer


def critic(rate=0.5, units=8):
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(units, "tanh"),
            layers.Dropout(rate),
            layers.Dense(units, "tanh"),
            layers.Dropout(rate),
            layers.Dense(1),
        ]
    )


def term(critic, real, **kwargs):
    callback = kgl.callbacks.ConsistencyPenalty(**kwargs)
    callback.set_model(Trainer(critic))
    return float(callback.critic_loss(tf.constant(real), tf.zeros_like(real)))


def make_trainer(**kwargs):
    gan = kgl.GAN(oracles.point_generator(), critic())
    gan.compile(**kwargs)
    return gan


def test_contract(tmp_path):
    contract.check_step_callback(kgl.callbacks.ConsistencyPenalty, make_trainer, tmp_path)


def test_identical_passes_give_zero():
    assert term(critic(rate=1e-12), oracles.points(9)) == 0.0  # which drops none of them


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2, 100.0])
def test_against_numpy(margin, monkeypatch):
    """The same masks in a network written in NumPy."""
    model = critic()
    model.set_weights([2 * w for w in model.get_weights()])
    rng = np.random.default_rng(0)
    x = oracles.points(16)
    masks = 2.0 * rng.integers(0, 2, size=(4, 16, 8)).astype("float32")
    drawn = iter(masks)
    monkeypatch.setattr(
        "keras.src.backend.random.dropout", lambda inputs, *_, **__: inputs * next(drawn)
    )
    found = term(model, x, weight=3.0, margin=margin)

    w1, b1, w2, b2, w3, b3 = (w.astype("float64") for w in model.get_weights())

    def passes(m1, m2):
        features = np.tanh((np.tanh(x @ w1 + b1) * m1) @ w2 + b2) * m2
        return features, (features @ w3 + b3)[:, 0]

    (f1, s1), (f2, s2) = passes(*masks[:2]), passes(*masks[2:])
    distance = (s1 - s2) ** 2 + 0.1 * np.mean((f1 - f2) ** 2, axis=1)
    expected = 3.0 * np.mean(np.maximum(0, distance - margin))
    assert expected > 0.01 or margin == 100.0
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["nested", "deeper", "reshaped"])
def test_features_are_what_the_last_layer_is_given(form, monkeypatch):
    """h = x W dropped out, and then f = h v: φ is h, of the same pass as f."""
    x, layers = keras.Input((2,)), keras.layers
    h = layers.Dense(4, use_bias=False)(x)
    tail = keras.Sequential([layers.Input((4,)), layers.Dropout(0.5), layers.Dense(1)])
    if form == "deeper":
        tail = keras.Sequential([layers.Input((4,)), tail, layers.Activation("linear")])
    if form == "reshaped":
        tail = keras.Sequential([*tail.layers, layers.Reshape((1, 1)), layers.Flatten()])
    y = tail(h)
    model = keras.Model(x, layers.Reshape((1,))(y) if form == "deeper" else y)
    rng = np.random.default_rng(0)
    masks = 2.0 * rng.integers(0, 2, size=(2, 16, 4)).astype("float32")
    drawn = iter(masks)
    monkeypatch.setattr(
        "keras.src.backend.random.dropout", lambda inputs, *_, **__: inputs * next(drawn)
    )
    real = oracles.points(16)
    found = term(model, real, weight=1.0)
    w, v, b = (w.astype("float64") for w in model.get_weights())
    h1, h2 = (real @ w * m for m in masks)
    expected = ((h1 - h2) @ v)[:, 0] ** 2 + 0.1 * np.mean((h1 - h2) ** 2, axis=1)
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


def test_ratio_of_given_pairs():
    rng = np.random.default_rng(0)
    x1, x2 = rng.normal(size=(2, 9, 2, 3)).astype("float32")
    a = rng.normal(size=(2, 3))
    s1, s2 = (np.sum(a * x, axis=(1, 2)).astype("float32") for x in (x1, x2))
    ratio = np.abs(s1 - s2) / np.sqrt(np.sum((x1 - x2) ** 2, axis=(1, 2)))
    for margin in (0.0, float(np.median(ratio))):
        expected = np.mean(np.maximum(0, ratio - margin))
        found = kgl.callbacks.ConsistencyPenalty.ratio(s1[:, None], s2, x1, x2, margin)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_noisy_pairs_of_a_linear_critic(margin, monkeypatch):
    """Eq. (4) in training: f(x) = a·x rises by |a·(ξ1 − ξ2)| over ‖ξ1 − ξ2‖, whatever x is."""
    real, rng = oracles.points(16), np.random.default_rng(0)
    noise = rng.normal(scale=0.1, size=(2, *real.shape)).astype("float32")
    drawn = iter(noise)
    monkeypatch.setattr("keras_gradlayer._random.normal", lambda *_, **__: next(drawn))
    a = np.array([3.0, -1.0])
    found = term(oracles.Linear(a), real, weight=2.0, margin=margin, stddev=0.1)
    d = noise[0] - noise[1]
    slopes = np.abs(d @ a) / np.linalg.norm(d, axis=1)
    # scores of order 1 in float32, over distances of 0.1 to 0.01
    np.testing.assert_allclose(found, 2 * np.maximum(0, slopes - margin).mean(), rtol=1e-4)


def test_noisy_pairs_bend_a_critic_without_dropout():
    """A critic that trains with a heavy term keeps a small slope."""
    gan = kgl.GAN(oracles.point_generator(), kgl.models.mlp_critic((2,), units=8))
    gan.compile(critic_optimizer=keras.optimizers.Adam(0.01))
    kgl.callbacks.ConsistencyPenalty(100.0, stddev=0.1).set_model(gan)
    x = tf.constant(oracles.points(64))
    update = tf.function(lambda: gan.critic_update(x), autograph=False)
    pair = x, x + 0.1 * tf.random.stateless_normal(x.shape, (0, 0))
    slopes = []
    for _ in range(2):
        slopes.append(float(kgl.callbacks.ConsistencyPenalty.ratio(*map(gan.critic, pair), *pair)))
        for _ in range(100):
            update()
    assert slopes[1] < 0.2 * slopes[0]


def test_critics_that_it_cannot_work_with():
    gan = kgl.GAN(oracles.point_generator(), kgl.models.mlp_critic((2,), units=8))
    gan.compile()
    callbacks = [kgl.callbacks.ConsistencyPenalty()]
    with pytest.raises(ValueError, match="Expected a critic with keras.layers.Dropout in it"):
        gan.fit(oracles.points(), callbacks=callbacks, verbose=0)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dropout(0.5)
            self.dense = keras.layers.Dense(1)

        def call(self, x, training=False):
            return self.dense(self.inner(x, training=training))

    gan = kgl.GAN(oracles.point_generator(), Subclassed())
    gan.compile()
    with pytest.raises(ValueError, match="Expected a Functional or Sequential critic"):
        gan.fit(oracles.points(), callbacks=callbacks, verbose=0)


def test_critics_that_end_with_no_one_layer():
    """Of y = d(dropout(h)) + s(x) the last layer is given two scores, and φ was x."""
    x = keras.Input((2,))
    h = keras.layers.Dropout(0.5)(keras.layers.Dense(4)(x))
    y = keras.layers.Dense(1)(h) + keras.layers.Dense(1)(x)
    with pytest.raises(ValueError, match="one layer of one input.*score is made of 2 tensors"):
        kgl.callbacks.ConsistencyPenalty().set_model(Trainer(keras.Model(x, y)))


@pytest.mark.parametrize("name", ["weight", "margin"])
def test_bad_arguments(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a non-negative"):
        kgl.callbacks.ConsistencyPenalty(**{name: -1})
