import keras
import numpy as np
from keras import layers

import keras_gradlayer as kgl
from keras_gradlayer.models.latent_inputs import has_latents, one_latent
from tests import oracles


def style_and_noise():
    style, noise = keras.Input((3,), name="style"), keras.Input((2, 2, 1), name="noise")
    x = layers.Reshape((2, 2, 1))(layers.Dense(4)(style))
    x = layers.Conv2D(2, 1, name="mixed")(layers.Concatenate()([x, noise]))
    return keras.Model([style, noise], layers.Conv2D(1, 1, activation="tanh")(x), name="styled")


def test_one_vector_holds_the_inputs_in_order():
    generator = style_and_noise()
    assert has_latents(generator)
    z = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    expected = generator([z[:, :3], z[:, 3:].reshape(5, 2, 2, 1)])
    np.testing.assert_allclose(one_latent(generator)(z), expected, atol=1e-6)
    named = keras.Model({"a": generator.inputs[0], "b": generator.inputs[1]}, generator.output)
    np.testing.assert_allclose(one_latent(named)(z), expected, atol=1e-6)
    z, label = keras.Input((3,)), keras.Input((1,), dtype="int32")
    x = layers.Concatenate()([z, layers.Flatten()(layers.Embedding(2, 2)(label))])
    assert not has_latents(keras.Model([z, label], x))
    assert not has_latents(oracles.point_generator())
    assert not has_latents(None)


def test_a_tuner_of_several_latents(tmp_path):
    """It trains, is saved and exported with one latent."""
    generator = style_and_noise()
    x = keras.Input((2, 2, 1))
    critic = keras.Model(x, layers.Dense(1)(layers.Flatten()(x)))
    tuner = kgl.FineTuner(generator, critic, 0.1, max_layers=1)
    tuner.compile()
    data = np.random.default_rng(0).uniform(-1, 1, (32, 2, 2, 1)).astype("float32")
    tuner.fit(data, epochs=1, verbose=0)
    assert tuner.latent.shape == (7,)
    assert tuner.output_range() == (-1, 1)
    z = tuner.latent.sample(4, seed=0)
    tuner.sampler().save(tmp_path / "s.keras")
    found = keras.saving.load_model(tmp_path / "s.keras")(z)
    np.testing.assert_allclose(found, tuner(z), atol=1e-6)
    expected = generator([z[:, :3], keras.ops.reshape(z[:, 3:], (4, 2, 2, 1))])
    np.testing.assert_allclose(tuner(z, layers=0), expected, atol=1e-6)
    folder = kgl.serving.export_sampler(generator, tmp_path / "plain", allowed_batch_sizes=(4,))
    with kgl.serving.connect(folder) as client:
        samples = client.sample(range(4))
    z = kgl.latents.Gaussian((7,)).sample_rows(range(4))
    expected = generator([z[:, :3], keras.ops.reshape(z[:, 3:], (4, 2, 2, 1))])
    np.testing.assert_allclose(samples, expected, atol=1e-6)
