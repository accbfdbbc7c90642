import keras
import numpy as np
import pytest
from keras import layers

from keras_gradlayer.models.copying import copy_model
from tests import oracles


def test_copy_shares_nothing():
    model = oracles.point_generator()
    twin = copy_model("generator", model, (3,))
    for a, b in zip(oracles.weights_of(model), oracles.weights_of(twin), strict=True):
        np.testing.assert_array_equal(a, b)
    twin.trainable = False
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert model.trainable_variables
    assert not np.allclose(model.get_weights()[0], twin.get_weights()[0])

    class NoConfig(keras.Model):
        def __init__(self, fn):
            super().__init__()
            self.fn = fn

        def call(self, x):
            return self.fn(x)

    with pytest.raises(ValueError, match="`critic` must be a model that can be rebuilt from its"):
        copy_model("critic", NoConfig(lambda x: x), (3,))
    scaled = keras.Sequential([layers.Input((3,)), layers.Lambda(lambda x: 2 * x)])
    with pytest.raises(ValueError, match=r"after keras.config.enable_unsafe_deserialization\(\)"):
        copy_model("generator", scaled, (3,))
