"""What `fit` takes as data, and what it says of the rest."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles
from tests.trainers.test_gan import make


def test_partial_batches_of_a_dataset_are_used():
    data = tf.data.Dataset.from_tensor_slices(oracles.points(20)).batch(8)
    for jit in (False, True):
        gan = make(jit_compile=jit)
        gan.fit(data, callbacks=[kgl.callbacks.GradientPenalty()], verbose=0)
        assert int(gan.critic_optimizer.iterations) == 3


def test_data_shorter_than_an_epoch_is_gone_through_again():
    gan = make()
    gan.fit(oracles.points(20), batch_size=8, steps_per_epoch=7, verbose=0)
    assert int(gan.critic_optimizer.iterations) == 7
    data = tf.data.Dataset.from_tensor_slices(oracles.points(20)).batch(8)
    gan.fit(data, steps_per_epoch=7, epochs=2, verbose=0)
    assert int(gan.critic_optimizer.iterations) == 21


def bad(x, match, error=ValueError, **kwargs):
    gan = make()
    before = oracles.weights_of(gan)
    with pytest.raises(error, match=match):
        gan.fit(x, verbose=0, **kwargs)
    for a, b in zip(before, oracles.weights_of(gan), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_data():
    x = oracles.points()
    bad(x, "Received: batch_size=65 for 64 samples", batch_size=65)
    bad(x, "`batch_size` must be an integer of at least 1. Received: batch_size=0", batch_size=0)
    for name in ("epochs", "steps_per_epoch", "initial_epoch"):
        bad(x, f"`{name}` must be an integer of at least", **{name: -2})
    bad(np.where(x > 0.7, np.nan, x), "must be finite. Received: [0-9]+ values that are NaN")
    bad(np.where(x > 0.7, np.inf, x), "must be finite")
    bad(np.zeros((64, 2), "uint8"), "must be floats.*uint8 values from 0 to 0.*x / 127.5 - 1")
    bad(np.zeros((64, 5), "float32"), r"shape the critic takes, \(2,\). Received: \(5,\)")
    bad([[0.0, 1.0]], "must be an array of samples or a tf.data.Dataset", error=TypeError)
    data = tf.data.Dataset.from_tensor_slices(x)
    bad(data.batch(16), "`batch_size` is for arrays", batch_size=16)
    bad(data.batch(65, drop_remainder=True), "The dataset has no batch")
    bad(data.map(lambda x: x / 0).batch(16), "must be finite")
    bad(data.map(lambda x: {"image": x}).batch(16), "must give batches of samples, or tuples")
    bad(data.batch(16).repeat(), "A dataset without end needs `steps_per_epoch`")


@pytest.mark.parametrize("as_dataset", [False, True])
def test_data_outside_the_output_range(as_dataset):
    x = 100 * oracles.points()
    data = tf.data.Dataset.from_tensor_slices(x).batch(64) if as_dataset else x
    with pytest.warns(UserWarning, match=r"lies in \[-79.*, 7.*\].*only gives values in \[-1, 1\]"):
        make().fit(data, verbose=0)


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0), ("linear", -50.0, 50.0), ("relu", 0.0, 50.0)],
)
def test_data_inside_the_output_range(activation, low, high, recwarn):
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, activation)])
    gan = kgl.GAN(generator, oracles.smooth_critic((2,)))
    gan.compile()
    gan.fit(np.random.default_rng(0).uniform(low, high, (32, 2)).astype("float32"), verbose=0)
    assert not [w for w in recwarn if "output activation" in str(w.message)]


def test_images_of_zero_to_one_for_a_tanh_generator():
    """Inside the range, and yet not what the generator makes."""
    x = np.random.default_rng(0).uniform(0, 1, (32, 2)).astype("float32")
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])
    gan = kgl.GAN(generator, oracles.smooth_critic((2,)))
    gan.compile()
    with pytest.warns(UserWarning, match=r"\[0.*, 0.9.*\].*\[-1, 1\]"):
        gan.fit(x, verbose=0)


def test_labels_are_left_out_and_said_so():
    x, y = oracles.points(), np.zeros(64)
    pairs = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    one, two = make(), make()
    with pytest.warns(UserWarning, match="All but the first of the dataset's 2 components will no"):
        one.fit(pairs, verbose=0)
    with pytest.warns(UserWarning, match="`y` will not be used"):
        two.fit(pairs.map(lambda x, y: x), y, verbose=0)
    with pytest.warns(UserWarning, match="`y` will not be used"):
        make().fit(x, y, verbose=0)
    three = make()
    three.fit(pairs.map(lambda x, y: (x,)), verbose=0)
    for other in (two, three):
        for a, b in zip(oracles.weights_of(one), oracles.weights_of(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_data_of_unknown_length_is_gone_through_again():
    data = tf.data.Dataset.from_tensor_slices(oracles.points()).batch(16).filter(lambda x: True)
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    gan.fit(data, steps_per_epoch=6, epochs=3, verbose=0)  # of four batches
    assert gan.critic_optimizer.iterations == 18
