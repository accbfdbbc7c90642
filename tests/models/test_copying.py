import keras
import numpy as np
import pytest
from keras import layers

import keras_gradlayer as kgl
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


class Own(keras.Model):
    """A class of a user's that cannot be rebuilt: its config would hold a function."""

    def __init__(self, activation, units):
        super().__init__()
        self.dense, self.activation = layers.Dense(units), activation

    def call(self, x):
        return self.activation(self.dense(x))


def test_parts_that_are_not_copied(tmp_path):
    """The tuner trains the critic itself; its samplers stay as they are, and are exported."""
    generator, critic = Own(lambda x: x, 2), Own(lambda x: x**2, 1)
    generator(np.zeros((1, 3), "float32")), critic(np.zeros((1, 2), "float32"))
    settings = {"latent": kgl.latents.Gaussian((3,)), "output_activation": "tanh", "max_layers": 3}
    with pytest.raises(ValueError, match=r"or FineTuner\(..., copy=False\)"):
        kgl.FineTuner(generator, critic, 0.1, **settings)
    tuner = kgl.FineTuner(generator, critic, 0.1, copy=False, **settings)
    assert tuner.generator is generator
    assert tuner.critic is critic
    tuner.compile()
    data = np.random.default_rng(0).uniform(-1, 1, (32, 2)).astype("float32")
    before = critic.get_weights()[0]
    tuner.fit(data, epochs=2, verbose=0)
    assert not np.allclose(critic.get_weights()[0], before)
    assert generator.trainable_variables == []
    z = tuner.latent.sample_rows([3, 4])
    np.testing.assert_allclose(tuner(z, layers=0), np.tanh(generator(z)), atol=1e-6)
    sampler, samples = tuner.sampler(), tuner(z).numpy()
    folder = kgl.serving.export_sampler(tuner, tmp_path / "model", allowed_batch_sizes=(2,))
    tuner.fit(data, epochs=1, verbose=0)
    np.testing.assert_allclose(sampler(z), samples, atol=1e-6)
    assert np.abs(tuner(z) - samples).max() > 1e-4
    with kgl.serving.connect(folder) as client:
        np.testing.assert_allclose(client.sample([3, 4]), samples, atol=1e-6)
