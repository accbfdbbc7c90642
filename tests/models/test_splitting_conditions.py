"""Conditional generators cut in two."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_gradlayer as kgl


def test_a_base_takes_no_condition_that_comes_after_it(tmp_path):
    """Keras 3.13 rebuilds no model with an input that nothing uses; values stay as they were."""
    z, c = keras.Input((3,)), keras.Input((2,))
    h = layers.Dense(4, name="before")(z)
    joined = layers.Concatenate(name="joined")([h, c])
    generator = keras.Model([z, c], layers.Dense(2, name="last")(joined))
    rng = np.random.default_rng(0)
    x, y = (tf.constant(rng.normal(size=(5, n)), "float32") for n in (3, 2))
    base, head = kgl.models.split(generator, "before")
    assert (len(base.inputs), len(head.inputs)) == (1, 2)
    base.save(tmp_path / "base.keras")
    base = keras.saving.load_model(tmp_path / "base.keras")
    np.testing.assert_allclose(head([base(x), y]), generator([x, y]), rtol=1e-6)
    base, head = kgl.models.split(generator, "joined")
    assert (len(base.inputs), len(head.inputs)) == (2, 1)
    np.testing.assert_allclose(head(base([x, y])), generator([x, y]), rtol=1e-6)
