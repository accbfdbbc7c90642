import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles
from tests.callbacks.test_gradient_penalty import Trainer


@pytest.mark.parametrize("mode", [{"jit_compile": True}, {"jit_compile": False}])
def test_it_falls_to_zero_over_the_epochs(mode):
    """A linear critic scores what it is given: the variance of its scores shows the noise."""

    class Scores(kgl.callbacks.StepCallback):
        """Logs the mean square of the critic's inputs, for data and samples that are zero."""

        def critic_loss(self, real, fake):
            return tf.reduce_mean(tf.square(real)) + tf.reduce_mean(tf.square(fake))

    layers = keras.layers
    generator = keras.Sequential(
        [layers.Input((2,)), layers.Dense(50, kernel_initializer="zeros", trainable=True)]
    )
    critic = keras.Sequential(
        [layers.Input((50,)), layers.Dense(1, kernel_initializer="zeros", use_bias=False)]
    )
    gan = kgl.GAN(generator, critic)
    gan.compile(generator_optimizer="sgd", critic_optimizer=keras.optimizers.SGD(1e-12), **mode)
    noise = kgl.callbacks.InstanceNoise(0.5, decay_epochs=4)
    zeros = np.zeros((400, 50), "float32")
    history = gan.fit(
        zeros, batch_size=400, epochs=6, callbacks=[noise, Scores()], verbose=0
    ).history
    stddev = 0.5 * np.array([1, 0.75, 0.5, 0.25, 0, 0])
    # a mean of 40,000 squares: 4 standard errors are 4 sqrt(2 / 20,000) of it
    np.testing.assert_allclose(history["penalty"], 2 * stddev**2, rtol=0.04, atol=1e-9)


def test_real_and_generated_alike_and_kept_without_decay():
    callback = kgl.callbacks.InstanceNoise(0.3)
    callback.set_model(Trainer(None))
    callback.on_epoch_begin(1000)
    x = tf.ones((1000, 4, 4))
    first, second = callback.critic_inputs(x) - x, callback.critic_inputs(x) - x
    for noise in (first, second):
        assert abs(float(tf.math.reduce_std(noise)) - 0.3) < 4 * 0.3 / np.sqrt(2 * 16000)
    assert np.abs(first - second).max() > 0.3


def test_bad_arguments():
    with pytest.raises(ValueError, match="`stddev` must be a positive finite number"):
        kgl.callbacks.InstanceNoise(0)
    for bad in (0, 1.5, "9"):
        with pytest.raises(ValueError, match="`decay_epochs` must be an integer of at least 1"):
            kgl.callbacks.InstanceNoise(0.1, decay_epochs=bad)


def test_it_trains_a_fine_tuner():
    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=8), 0.1, max_layers=2)
    tuner.compile()
    history = tuner.fit(
        oracles.points(), epochs=2, callbacks=[kgl.callbacks.InstanceNoise(0.1, 2)], verbose=0
    ).history
    assert np.isfinite(history["critic_loss"]).all()
