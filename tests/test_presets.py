import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

PRESETS = {
    "wgan": kgl.presets.wgan,
    "wgan_gp": kgl.presets.wgan_gp,
    "dragan": kgl.presets.dragan,
    "ct_gan": kgl.presets.ct_gan,
}


def fit(preset, critic, updates=20):
    gan = kgl.GAN(oracles.point_generator(), critic, preset.objective)
    gan.compile(
        generator_optimizer=preset.generator_optimizer, critic_optimizer=preset.critic_optimizer
    )
    data = kgl.data.eight_gaussians(batch_size=preset.batch_size).repeat()
    history = gan.fit(data, steps_per_epoch=updates, callbacks=preset.callbacks, verbose=0)
    return gan, history.history


@pytest.mark.parametrize("name", PRESETS)
def test_it_trains(name):
    layers = keras.layers
    critic = keras.Sequential(
        [layers.Input((2,)), layers.Dense(8, "relu"), layers.Dropout(0.3), layers.Dense(1)]
    )
    preset = PRESETS[name]()
    gan, history = fit(preset, critic)
    assert np.isfinite(history["critic_loss"]).all()
    moves = 20 // preset.callbacks[0].critic_steps
    assert int(gan.generator_optimizer.iterations) == moves
    # each call makes its own
    assert PRESETS[name]().critic_optimizer is not preset.critic_optimizer
    assert preset.generator_optimizer is not preset.critic_optimizer


def test_the_settings_of_the_first_wgan():
    preset = kgl.presets.wgan()
    gan, _ = fit(preset, kgl.models.mlp_critic((2,), units=8))
    for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
        assert isinstance(optimizer, keras.optimizers.RMSprop)
        assert float(optimizer.learning_rate) == pytest.approx(5e-5)
    assert max(np.abs(w).max() for w in oracles.weights_of(gan.critic)) <= np.float32(0.01)
    assert preset.batch_size == 64
    assert preset.callbacks[0].critic_steps == 5


def test_settings_are_taken():
    preset = kgl.presets.wgan_gp(penalty=3.0, one_sided=True, critic_steps=2, learning_rate=1e-3)
    steps, penalty = preset.callbacks
    assert (steps.critic_steps, penalty.weight, penalty.one_sided) == (2, 3.0, True)
    assert float(preset.critic_optimizer.learning_rate) == pytest.approx(1e-3)
    *_, consistency = kgl.presets.ct_gan(consistency=1.0, margin=0.2).callbacks
    assert (consistency.weight, consistency.margin) == (1.0, 0.2)
