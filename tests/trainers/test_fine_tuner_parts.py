"""The generator and the critic that a FineTuner is handed: how it cuts, copies and freezes them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles
from tests.trainers.test_fine_tuner import make


def test_models_handed_over_are_left_alone():
    generator, critic = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    gan = kgl.GAN(generator, critic)
    gan.compile()
    before = oracles.weights_of(generator), oracles.weights_of(critic)
    for insert in ("top", "bottom", "hidden"):
        tuner = kgl.FineTuner(generator, critic, 0.1, insert=insert, max_layers=2)
        tuner.compile(critic_optimizer="adam")
        tuner.fit(oracles.points(), epochs=2, verbose=0)
        for model, values in zip((generator, critic), before):
            for a, b in zip(oracles.weights_of(model), values, strict=True):
                np.testing.assert_array_equal(a, b)
        assert generator.trainable_variables
        assert critic.trainable_variables
        # the tuner trains its own critic and nothing else
        trained = {id(v) for v in tuner.trainable_variables}
        assert trained == {id(v) for v in tuner.critic.trainable_variables}
        assert not trained & {id(v) for v in critic.variables}
        assert not np.allclose(tuner.critic.get_weights()[0], critic.get_weights()[0])
    gan.fit(oracles.points(), verbose=0)  # and the GAN trains on


@pytest.mark.parametrize("insert", ["top", "bottom", "hidden", "norm"])
def test_without_layers_it_is_the_generator(insert):
    generator = oracles.point_generator()
    tuner = kgl.FineTuner(generator, kgl.models.mlp_critic((2,)), 0.1, insert=insert)
    z = tuner.latent.sample(20, seed=0)
    np.testing.assert_allclose(tuner(z), generator(z, training=False), atol=1e-6)
    sampler = tuner.sampler()
    np.testing.assert_allclose(sampler(z), tuner(z), atol=1e-6)


def test_fused_output_activation_of_images():
    generator = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(32, "relu"),
            keras.layers.Reshape((4, 4, 2)),
            keras.layers.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh"),
        ]
    )
    tuner = kgl.FineTuner(generator, kgl.models.dcgan_critic((8, 8, 3), width=4), 5.0)
    tuner.compile(critic_optimizer="adam")
    assert not tuner.jit_compile  # convolutions on a CPU
    rng = np.random.default_rng(0)
    images = rng.uniform(0.5, 1, (32, 8, 8, 3)).astype("float32")
    tuner.fit(images, batch_size=8, epochs=2, verbose=0)
    z = tuner.latent.sample(10, seed=0)
    np.testing.assert_allclose(tuner(z, layers=0), generator(z), atol=1e-6)
    moved = tuner.predict(z, verbose=0)
    assert np.abs(moved).max() <= 1  # the layers went before the tanh
    assert not np.allclose(moved, generator(z))


def test_samples_stay_in_the_range_of_activations_that_are_not_last():
    z = keras.Input((6,))
    branches = [keras.layers.Dense(2, "tanh")(z), keras.layers.Dense(3, "softmax")(z)]
    table = keras.Model(z, keras.layers.Concatenate()(branches))
    pixels = keras.layers.Dense(48), keras.layers.Reshape((4, 4, 3))
    images = keras.Sequential(
        [keras.Input((6,)), *pixels, keras.layers.Activation("tanh"), keras.layers.UpSampling2D()]
    )
    for generator in (table, images):
        ends = keras.layers.Flatten(), keras.layers.Dense(1, kernel_initializer="ones")
        critic = keras.Sequential([keras.Input(generator.output_shape[1:]), *ends])
        tuner = kgl.FineTuner(generator, critic, step_size=5.0)
        z = tuner.latent.sample(64, seed=0)
        np.testing.assert_allclose(tuner(z), generator(z), atol=1e-6)
        tuner.stack.append()
        moved = np.asarray(tuner(z))
        assert np.abs(moved).max() <= 1
        assert moved.mean() > np.mean(generator(z)) + 0.01
        assert (tuner.base.name, tuner.head.name) == ("base", "head")


def test_output_activation():
    linear = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    critic = kgl.models.mlp_critic((2,))
    z = kgl.latents.Gaussian((3,)).sample(5, seed=0)
    tuner = kgl.FineTuner(linear, critic, 0.1, output_activation="sigmoid")
    np.testing.assert_allclose(tuner(z), tf.sigmoid(linear(z)), atol=1e-6)
    z = kgl.latents.Gaussian((2,)).sample(5, seed=0)
    np.testing.assert_allclose(kgl.FineTuner(None, critic, 0.1)(z), tf.tanh(z), atol=1e-6)
    identity = kgl.FineTuner(None, critic, 0.1, output_activation=None)
    np.testing.assert_allclose(identity(z), z, atol=1e-6)
    with pytest.raises(ValueError, match="`output_activation` goes with insert='top'. Received"):
        kgl.FineTuner(linear, critic, 0.1, insert="bottom", output_activation="tanh")


@keras.saving.register_keras_serializable("tests")
class Free(keras.Model):
    """A generator without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, z):
        return self.dense(z)


def test_subclassed_generator(tmp_path):
    generator, critic = Free(), kgl.models.mlp_critic((2,), units=4)
    latent = kgl.latents.Uniform((3,))
    with pytest.raises(ValueError, match="Only a built Functional or Sequential generator"):
        kgl.FineTuner(generator, critic, 0.1, latent=latent, insert="top")
    for arguments in ({}, {"output_activation": "tanh"}):
        tuner = kgl.FineTuner(generator, critic, 0.1, latent=latent, **arguments)
        tuner.compile()
        tuner.fit(oracles.points(), verbose=0)
        z = latent.sample(5, seed=0)
        tuner.save(tmp_path / "t.keras")
        keras.saving.load_model(tmp_path / "t.keras")
        tuner.sampler().save(tmp_path / "s.keras")
        loaded = keras.saving.load_model(tmp_path / "s.keras")
        np.testing.assert_array_equal(
            loaded.predict(z, verbose=0), tuner.sampler().predict(z, verbose=0)
        )


def test_models_keep_their_precision_under_another_global_policy():
    generator, critic = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    z = kgl.latents.Gaussian((3,)).sample(9, seed=0)
    expected = generator(z)
    keras.config.set_dtype_policy("mixed_float16")
    tuner = kgl.FineTuner(generator, critic, 0.1)
    assert tuner.critic.compute_dtype == "float32"
    np.testing.assert_allclose(tuner(z), expected, atol=1e-6)
    assert keras.config.dtype_policy().name == "mixed_float16"


@keras.saving.register_keras_serializable("tests")
class CentersTheBatch(keras.layers.Layer):
    def call(self, x):
        return x - tf.reduce_mean(x, axis=0, keepdims=True)


def test_critic_that_couples_rows():
    critic = keras.Sequential([keras.layers.Input((2,)), CentersTheBatch(), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`critic` couples the rows of a batch in inference mode"):
        kgl.FineTuner(None, critic, 0.1)
    # batch normalization does so in training only
    critic = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )
    kgl.FineTuner(None, critic, 0.1)


def test_a_generator_with_a_gradient_layer_in_it():
    """The layer lists no variables; its values are copied all the same."""
    inner = kgl.models.mlp_critic((2,), units=8)
    generator = keras.Sequential(
        [
            keras.layers.Input((2,)),
            keras.layers.Dense(2),
            kgl.layers.GradientLayer(inner, 2.0),
            keras.layers.Activation("tanh"),
        ]
    )
    for insert in ("top", "bottom"):
        tuner = kgl.FineTuner(generator, kgl.models.mlp_critic((2,)), 0.1, insert=insert)
        z = tuner.latent.sample(20, seed=0)
        np.testing.assert_allclose(tuner(z), generator(z), atol=1e-6)
        np.testing.assert_allclose(tuner.sampler()(z), generator(z), atol=1e-6)


def test_frozen_parts_stay_frozen_in_an_outer_model():
    tuner = make()
    tuner.fit(oracles.points(), verbose=0)
    sampler = tuner.sampler()
    outer = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(3), sampler])
    outer.trainable = False
    outer.trainable = True
    assert len(outer.trainable_variables) == 2
    before = oracles.weights_of(sampler)
    outer.compile("sgd", "mse")
    outer.fit(np.zeros((8, 3)), np.zeros((8, 2)), verbose=0)
    for a, b in zip(before, oracles.weights_of(sampler), strict=True):
        np.testing.assert_array_equal(a, b)
    tuner.trainable = False
    assert tuner.trainable_variables == []
    tuner.trainable = True
    assert len(tuner.trainable_variables) == len(tuner.critic.trainable_variables)
