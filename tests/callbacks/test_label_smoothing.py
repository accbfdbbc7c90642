"""Label smoothing, against TF-GAN and the cross entropy itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles


def make(objective, **kwargs):
    keras.utils.set_random_seed(0)
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)), objective)
    gan.compile(critic_optimizer=keras.optimizers.SGD(1e-12), **kwargs)
    return gan


@pytest.mark.parametrize("settings", [{"jit_compile": False}, {"run_eagerly": True}])
@pytest.mark.parametrize("objective", ["minimax", "non_saturating", "kl"])
def test_against_tf_gan(objective, settings):
    """TF-GAN's `label_smoothing` s makes a label of 1 − s/2."""
    from keras_gradlayer._tfgan import losses

    gan, real = make(objective, **settings), oracles.points(16)
    z = gan.latent.sample(16, seed=1)
    gan.generate = lambda n: gan.generator(z)
    fake, smooth = gan.generator(z), [kgl.callbacks.LabelSmoothing(0.1)]
    logs = gan.fit(real, batch_size=16, shuffle=False, callbacks=smooth, verbose=0).history
    scores = gan.critic(real), gan.critic(fake)
    expected = losses.minimax_discriminator_loss(*scores, label_smoothing=0.2)
    assert logs["critic_loss"][0] == pytest.approx(float(expected), rel=1e-5)
    plain = losses.minimax_discriminator_loss(*scores, label_smoothing=0.0)
    assert logs["penalty"][0] == pytest.approx(float(expected - plain), rel=1e-4)


def test_in_a_fine_tuner():
    """One step of the critic is that of Keras' cross entropy with labels 0.75 and 0."""
    keras.utils.set_random_seed(0)
    critic = oracles.smooth_critic((2,))
    arguments = {"output_activation": None, "objective": "minimax", "particles": 16}
    tuner = kgl.FineTuner(None, critic, 0.1, **arguments)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    tuner.prepare(16)
    fake, real = tf.identity(tuner.carried.positions), oracles.points(16)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        loss = cross_entropy(np.full((16, 1), 0.75), critic(real))
        loss += cross_entropy(np.zeros((16, 1)), critic(fake))
    gradients = tape.gradient(loss, critic.trainable_variables)
    smooth = [kgl.callbacks.LabelSmoothing(0.25)]
    tuner.fit(real, batch_size=16, shuffle=False, callbacks=smooth, verbose=0)
    for v, w, g in zip(tuner.critic.get_weights(), critic.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(v, w - 0.1 * g, atol=1e-6)


def test_other_objectives_are_refused():
    for objective in ("wasserstein", "hinge", "least_squares"):
        with pytest.raises(ValueError, match=f"of a cross entropy.*Received: {objective}"):
            make(objective).fit(
                oracles.points(), callbacks=[kgl.callbacks.LabelSmoothing()], verbose=0
            )
    with pytest.raises(TypeError, match="joins the training step of a kgl.GAN or kgl.FineTuner"):
        kgl.callbacks.LabelSmoothing().set_model(oracles.smooth_critic((2,)))
    for amount in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="`amount`"):
            kgl.callbacks.LabelSmoothing(amount)
