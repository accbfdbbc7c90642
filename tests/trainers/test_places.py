"""The place of the layers, on generators where it is known which is best."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_gradlayer as kgl


@keras.saving.register_keras_serializable("tests")
class OnCircle(keras.layers.Layer):
    """Angles to points of the unit circle."""

    def call(self, z):
        return ops.concatenate([ops.cos(z), ops.sin(z)], axis=-1)


def to_the_right():
    """A critic whose score is the first coordinate."""
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    critic.set_weights([np.array([[1.0], [0.0]])])
    return critic


def on_circle():
    """Points of the circle, and a last layer that changes nothing."""
    z = keras.Input((1,))
    same = keras.layers.Dense(2, use_bias=False, kernel_initializer="identity")
    return keras.Model(z, same(OnCircle()(z)))


def off(x, center):
    """The mean distance to a point of the circle, and ten times how far x is from the circle."""
    away = np.linalg.norm(x - np.asarray(center), axis=1).mean()
    return {"off": float(away + 10 * np.abs(np.linalg.norm(x, axis=1) - 1).mean())}


def test_the_latent_where_samples_must_stay_on_a_curve():
    """Moved themselves, points leave the circle; by their angles they go round it to (1, 0)."""
    critic, generator = to_the_right(), on_circle()
    place, losses = kgl.best_insert(generator, critic, lambda x: off(x, (1, 0)), samples=250)
    assert place == "bottom"
    z = kgl.latents.Gaussian((1,)).sample(250, seed=2)
    before = off(generator(z).numpy(), (1, 0))["off"]
    assert losses["bottom"] < 0.2 * before
    assert losses["top"] == pytest.approx(before, rel=0.02)  # little or nothing helps there


def test_the_top_where_the_latent_cannot_go():
    """No latent makes the first coordinate anything but 0."""
    generator = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    generator.set_weights([np.array([[0.0, 1.0]])])

    def away(x):
        return {"away": float(np.abs(x[:, 0] - 3).mean())}

    place, losses = kgl.best_insert(generator, to_the_right(), away, samples=100)
    assert place == "top"
    # three layers by halving and doubling from the first step end within a twentieth of it
    assert losses["top"] < 0.15
    assert losses["bottom"] == pytest.approx(3)


def test_no_layer_helps():
    """Then it is the place of insert="auto"."""
    place, losses = kgl.best_insert(
        on_circle(), to_the_right(), lambda x: {"none": 1.0}, samples=100
    )
    assert place == kgl.FineTuner(on_circle(), to_the_right()).insert == "top"
    assert losses == {"top": 1.0, "bottom": 1.0}


def test_nothing_is_changed():
    generator, critic = on_circle(), to_the_right()
    before = critic.get_weights()
    kgl.best_insert(generator, critic, lambda x: off(x, (1, 0)), samples=50, layers=1)
    np.testing.assert_array_equal(critic.get_weights()[0], before[0])
    assert generator.trainable


def test_bad_arguments():
    def best(scorer=lambda x: {"none": 1.0}, **kwargs):
        return kgl.best_insert(on_circle(), to_the_right(), scorer, **kwargs)

    with pytest.raises(ValueError, match="`layers` must be an integer of at least 1"):
        best(layers=0)
    with pytest.raises(ValueError, match="`samples` must be an integer of at least 1"):
        best(samples=0)
    with pytest.raises(TypeError, match="scorer"):
        best(scorer=3)
    with pytest.raises(ValueError, match="objective"):
        best(objective="none")
