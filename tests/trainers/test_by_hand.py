"""`train_on_batch` takes what `fit` takes, and refuses what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.models.conditions import Conditions
from tests import oracles
from tests.models.test_conditions import parts


def make_gan():
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile(jit_compile=False)
    return gan


def test_conditions_are_those_that_fit_takes():
    """Integer classes for one-hot models: the same steps by hand as by `fit`."""
    x, labels = oracles.points(48), np.repeat([0, 3, 4], [24, 16, 8])
    trained = []
    for by_hand in (False, True):
        keras.utils.set_random_seed(0)
        gan = kgl.GAN(*parts(condition=(5,), dtype="float32"))
        gan.compile(jit_compile=False)
        if by_hand:
            for start in range(0, 48, 16):
                batch = slice(start, start + 16)
                gan.train_on_batch(x[batch], labels[batch])
        else:
            rows = tf.data.Dataset.from_tensor_slices((x, labels)).batch(16, drop_remainder=True)
            gan.fit(rows, verbose=0, callbacks=[kgl.callbacks.CriticInnerLoop(1)])
        trained.append(gan)
    for a, b in zip(*map(oracles.weights_of, trained), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert gan.conditions.known == 3  # those of all batches, with their shares
    np.testing.assert_array_equal(gan.conditions.frequencies.numpy()[:3], [8, 16, 24])
    np.testing.assert_array_equal(gan.conditions.values.numpy()[:3], np.eye(5)[[4, 3, 0]])
    assert np.shape(gan(gan.latent.sample(4, seed=0))) == (4, 2)


def test_conditions_by_hand_are_as_many_as_there_is_room_for():
    conditions = Conditions((1,), "int32")
    for i in range(5):
        conditions.learn_more(np.full((1000, 1), i))
    conditions.learn_more(np.full((1000, 1), 5))  # there are 4,096 by now
    assert conditions.known == 5


def test_what_fit_refuses():
    x = oracles.points(8)
    gan = make_gan()
    for given, match in (
        ((255 * x).astype("uint8"), "Samples must be floats .* uint8 values"),
        (np.where(x == x[3], np.nan, x).astype("float32"), "2 values that are NaN"),
        (np.ones((8, 3), "float32"), r"the shape the critic takes, \(2,\). Received: \(3,\)"),
    ):
        with pytest.raises(ValueError, match=match):
            gan.train_on_batch(given)
    for name in ("sample_weight", "class_weight"):
        with pytest.raises(TypeError, match=f"train_on_batch does not take `{name}`: all samples"):
            gan.train_on_batch(x, **{name: np.ones(8)})
    with pytest.raises(TypeError):
        gan.train_on_batch(x, None, np.ones(8))
    by_class = kgl.GAN(*parts())
    by_class.compile()
    with pytest.raises(ValueError, match="is trained on samples and their conditions"):
        by_class.train_on_batch(x)
    with pytest.raises(ValueError, match="Received: 7 conditions for 8 samples"):
        by_class.train_on_batch(x, np.ones(7, int))


def test_labels_of_others_are_left_out():
    """As by `fit`: with a warning, and the steps are those without."""
    x, trained = oracles.points(8), []
    for labels in ((), (np.ones(8),)):
        keras.utils.set_random_seed(0)
        trained.append(make_gan())
        if labels:
            with pytest.warns(UserWarning, match="`y` will not be used"):
                trained[-1].train_on_batch(x, *labels)
        else:
            trained[-1].train_on_batch(x)
    for a, b in zip(*map(oracles.weights_of, trained), strict=True):
        np.testing.assert_array_equal(a, b)
