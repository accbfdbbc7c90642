"""What a FineTuner trains is what its layers follow: statistics of normalization stand still."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

layers = keras.layers


def critic(*middle):
    return keras.Sequential([layers.Input((2,)), layers.Dense(8), *middle, layers.Dense(1)])


def trained_statistics(model):
    """Give batch normalization statistics of its own, as a trained critic has them."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign([0.5] * 8)
            layer.moving_variance.assign([4.0] * 8)
    return model


def fit(tuner):
    tuner.compile(critic_optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    penalty = [kgl.callbacks.GradientPenalty()]
    return tuner.fit(oracles.points(32), batch_size=8, callbacks=penalty, verbose=0).history


def test_training_and_inference_are_one_function(caplog):
    handed_over = trained_statistics(critic(layers.BatchNormalization(name="bn"), layers.ReLU()))
    with caplog.at_level(logging.INFO, "keras_gradlayer"):
        tuner = kgl.FineTuner(None, handed_over, 0.1, max_layers=2)
    assert "The critic trains with the statistics it has, in bn." in caplog.text
    before = tuner.critic.get_weights()
    fit(tuner)
    x = oracles.points(32) ** 2  # of another mean and variance
    np.testing.assert_allclose(tuner.scores(x), tuner.critic(x, training=False), atol=1e-6)
    bn = tuner.critic.get_layer("bn")
    np.testing.assert_array_equal(bn.moving_mean, [0.5] * 8)
    np.testing.assert_array_equal(bn.moving_variance, [4.0] * 8)
    # scale and offset train, and so does all else
    moved = [np.abs(a - b).max() for a, b in zip(before, tuner.critic.get_weights())]
    assert [m > 1e-4 for m in moved] == [True, True, True, True, False, False, True, False]
    # the log is the estimate by the function that is followed
    assert handed_over.get_layer("bn").trainable


def test_thawed_with_the_tuner():
    tuner = kgl.FineTuner(None, critic(layers.BatchNormalization(name="bn")), 0.1)
    count = len(tuner.trainable_variables)
    tuner.trainable = False
    assert not tuner.trainable_variables
    tuner.trainable = True
    assert len(tuner.trainable_variables) == count
    assert not tuner.critic.get_layer("bn").trainable


@pytest.mark.parametrize("steps", [1, 3])
def test_saved_and_loaded(tmp_path, steps):
    tuner = kgl.FineTuner(None, trained_statistics(critic(layers.BatchNormalization())), 0.1)
    for _ in range(steps):
        fit(tuner)
    tuner.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras")
    z = tuner.latent.sample(5, seed=0)
    np.testing.assert_array_equal(loaded(z), tuner(z))
    assert len(loaded.trainable_variables) == len(tuner.trainable_variables)


def test_other_layers_are_as_they_should_be():
    """Dropout drops, spectral normalization normalizes, in training alone."""
    tuner = kgl.FineTuner(None, critic(layers.Dropout(0.5)), 0.1)
    x = oracles.points(32)
    assert np.abs(tuner.scores(x) - tuner.critic(x, training=False)).max() > 1e-3
    dense = layers.SpectralNormalization(layers.Dense(8), power_iterations=3)
    tuner = kgl.FineTuner(None, critic(dense), 0.1)
    inner = tuner.critic.layers[1]
    before = inner.layer.kernel.numpy()
    tuner.scores(x)
    assert np.linalg.norm(inner.layer.kernel, 2) == pytest.approx(1, rel=0.1)
    assert np.abs(before - inner.layer.kernel).max() > 1e-3


def test_a_reloaded_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    """Scale and offset train on, with the optimizer's state; a layer frozen before stays frozen."""
    middle = [layers.BatchNormalization(), layers.BatchNormalization(trainable=False, name="still")]
    tuner = kgl.FineTuner(None, trained_statistics(critic(*middle)), 0.1, max_layers=4)
    fit(tuner)
    tuner.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras")
    again = kgl.FineTuner(None, tuner.critic, 0.1)
    for other in (loaded, again):
        assert len(other.trainable_variables) == len(tuner.trainable_variables) == 6
        assert not other.critic.get_layer("still").gamma.trainable
    assert len(loaded.critic_optimizer.variables) == len(tuner.critic_optimizer.variables)
    for model in (tuner, loaded):
        penalty = [kgl.callbacks.GradientPenalty()]
        model.fit(oracles.points(32), batch_size=8, shuffle=False, callbacks=penalty, verbose=0)
    for a, b in zip(tuner.critic.get_weights(), loaded.critic.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@keras.saving.register_keras_serializable("tests")
class BatchCentered(layers.Layer):
    """Takes off the mean: of the batch in training, a moving one otherwise."""

    through = True
    """Whether gradients go through the batch's mean."""

    def build(self, shape):
        self.mean = self.add_weight(shape=shape[1:], initializer="zeros", trainable=False)

    def call(self, x, training=False):
        mean = keras.ops.mean(x, axis=0)
        if not self.through:
            mean = keras.ops.stop_gradient(mean)
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
        return x - (mean if training else self.mean)


@keras.saving.register_keras_serializable("tests")
class Renormalized(BatchCentered):
    through = False


@keras.saving.register_keras_serializable("tests")
class NotFrozen(layers.BatchNormalization):
    """Batch normalization that does not look at `trainable`."""

    def call(self, x, training=False):
        if not training:
            return super().call(x, training=False)
        return x - keras.ops.mean(x, axis=0)


@keras.saving.register_keras_serializable("tests")
class Noise(layers.Layer):
    def call(self, x, training=False):
        return x + tf.random.normal(tf.shape(x)) if training else x


@pytest.mark.parametrize(
    "middle",
    [[BatchCentered()], [BatchCentered(), layers.Dropout(0.5)], [Renormalized()], [NotFrozen()]],
)
def test_custom_statistics_train_in_inference_mode(middle, caplog, tmp_path):
    with caplog.at_level(logging.INFO, "keras_gradlayer"):
        tuner = kgl.FineTuner(None, critic(*middle), 0.1, max_layers=3)
    assert "The critic trains in inference mode" in caplog.text
    statistics = [v.numpy() for v in tuner.critic.non_trainable_variables]
    x = oracles.points(32) ** 2
    np.testing.assert_array_equal(tuner.scores(x), tuner.critic(x, training=False))
    fit(tuner)
    for v, before in zip(tuner.critic.non_trainable_variables, statistics, strict=True):
        np.testing.assert_array_equal(v, before)
    tuner.save(tmp_path / "tuner.keras")
    assert not keras.saving.load_model(tmp_path / "tuner.keras").critic_training


@pytest.mark.parametrize(
    "middle",
    [
        [],
        [layers.Dropout(0.5), layers.GaussianNoise(0.1)],
        [Noise()],
        [layers.GroupNormalization(2), layers.LayerNormalization()],
        [layers.SpectralNormalization(layers.Dense(8))],
        [layers.SpectralNormalization(layers.Dense(1))],
        [layers.BatchNormalization(), layers.Dropout(0.5)],
    ],
)
def test_what_may_differ_in_training(middle, caplog):
    handed_over = critic(*middle)
    with caplog.at_level(logging.INFO, "keras_gradlayer"):
        tuner = kgl.FineTuner(None, handed_over, 0.1)
    assert "inference mode" not in caplog.text
    assert tuner.critic_training
    # looking at it changes nothing
    for a, b in zip(tuner.critic.variables, handed_over.variables, strict=True):
        np.testing.assert_array_equal(a, b)
