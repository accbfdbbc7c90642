import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

PRESETS = {name: getattr(kgl.presets, name) for name in kgl.presets.__all__ if name != "Preset"}


def fit(preset, critic, updates=20):
    gan = preset.gan(oracles.point_generator(), critic)
    data = kgl.data.eight_gaussians(n=1024, batch_size=preset.batch_size).repeat()
    history = gan.fit(data, steps_per_epoch=updates, callbacks=preset.callbacks, verbose=0)
    return gan, history.history


@pytest.mark.parametrize("name", PRESETS)
def test_it_trains(name):
    layers = keras.layers
    dropouts = [layers.Dropout(0.3)] if name == "ct_gan" else []
    critic = keras.Sequential(
        [layers.Input((2,)), layers.Dense(8, "tanh"), *dropouts, layers.Dense(1)]
    )
    preset = PRESETS[name]()
    gan, history = fit(preset, critic)
    assert np.isfinite(history["critic_loss"]).all()
    moves = 20 // preset.critic_steps
    assert int(gan.generator_optimizer.iterations) == moves
    # each call makes its own
    assert PRESETS[name]().generator_optimizer is not preset.generator_optimizer
    assert preset.generator_optimizer is not preset.critic_optimizer
    assert isinstance(gan, kgl.DualingGAN if name == "dualing_gan" else kgl.GAN)
    assert isinstance(gan, kgl.UnrolledGAN) == (name == "unrolled_gan")


def test_the_settings_of_the_first_wgan():
    preset = kgl.presets.wgan()
    gan, _ = fit(preset, kgl.models.mlp_critic((2,), units=8))
    for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
        assert isinstance(optimizer, keras.optimizers.RMSprop)
        assert float(optimizer.learning_rate) == pytest.approx(5e-5)
    assert max(np.abs(w).max() for w in oracles.weights_of(gan.critic)) <= np.float32(0.01)
    assert preset.batch_size == 64
    assert preset.critic_steps == preset.callbacks[0].critic_steps == 5
    preset.callbacks.reverse()  # and others that a user puts first
    assert preset.critic_steps == 5
    dualing = kgl.presets.dualing_gan()
    dualing.callbacks.append(kgl.callbacks.InstanceNoise(0.1))
    assert dualing.critic_steps == 1


def test_settings_are_taken():
    preset = kgl.presets.wgan_gp(penalty=3.0, one_sided=True, critic_steps=2, learning_rate=1e-3)
    steps, penalty = preset.callbacks
    assert (steps.critic_steps, penalty.weight, penalty.one_sided) == (2, 3.0, True)
    assert float(preset.critic_optimizer.learning_rate) == pytest.approx(1e-3)
    *_, consistency = kgl.presets.ct_gan(consistency=1.0, margin=0.2).callbacks
    assert (consistency.weight, consistency.margin) == (1.0, 0.2)
    assert kgl.presets.gradient_regularized(penalty=0.2).callbacks[1].weight == 0.2
    critic = kgl.models.mlp_critic((2,), units=4)
    gan = kgl.presets.unrolled_gan(unrolled_steps=2).gan(oracles.point_generator(), critic)
    assert gan.steps == 2
    gan = kgl.presets.dualing_gan("cost").gan(oracles.point_generator(), critic, trust_region=0.1)
    assert (gan.variant, gan.trust_region) == ("cost", 0.1)


def test_the_mean_critic_of_a_game():
    """The mean after each update, as one sees who plays the same game and looks."""
    x = oracles.points(64)
    critic = kgl.models.mlp_critic((2,), units=4)
    generator = oracles.point_generator()
    given = oracles.weights_of(generator), oracles.weights_of(critic)
    keras.utils.set_random_seed(3)
    preset = kgl.presets.wgan_gp(critic_steps=2, learning_rate=1e-2)
    averaged = preset.average_critic(generator, critic, x, iterations=3, batch_size=16, verbose=0)
    keras.utils.set_random_seed(3)
    preset = kgl.presets.wgan_gp(critic_steps=2, learning_rate=1e-2)
    twins = [keras.models.clone_model(m) for m in (generator, critic)]
    for twin, weights in zip(twins, given):
        twin.set_weights(weights)
    gan = preset.gan(*twins)
    fit = {"batch_size": 16, "steps_per_epoch": 6, "verbose": 0}
    look = Look()
    gan.fit(x, callbacks=[*preset.callbacks, look], **fit)
    seen = look.seen
    assert len(seen) == 6
    for mean, *weights in zip(averaged.get_weights(), *seen):
        np.testing.assert_allclose(mean, np.mean(weights, 0), atol=1e-6)
    assert np.abs(averaged.get_weights()[0] - seen[-1][0]).max() > 1e-3  # the game moves it
    for model, weights in zip((generator, critic), given):  # those handed over are left alone
        for a, b in zip(oracles.weights_of(model), weights):
            np.testing.assert_array_equal(a, b)


class Look(keras.callbacks.Callback):
    """The critic's weights after each update."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.critic.get_weights())


@pytest.mark.parametrize("ending", ["fused", "layer"])
def test_the_mean_critic_of_probabilities(ending):
    """The game is played without the sigmoid; its weights are averaged, those of the end, too."""
    layers = keras.layers
    fused = "sigmoid" if ending == "fused" else None
    begin = [layers.Input((2,)), layers.Dense(4, "tanh"), layers.Dense(1, fused)]
    critic = keras.Sequential([*begin, *([] if fused else [layers.Activation("sigmoid")])])
    preset, look, x = kgl.presets.dcgan(learning_rate=1e-2), Look(), oracles.points(64)
    fit = {"iterations": 5, "batch_size": 16, "callbacks": [look], "verbose": 0}
    averaged = preset.average_critic(oracles.point_generator(), critic, x, **fit)
    assert len(look.seen) == 5
    means = [np.mean(w, 0) for w in zip(*look.seen)]
    for mean, given, found in zip(means, critic.get_weights(), averaged.get_weights()):
        np.testing.assert_allclose(found, mean, atol=1e-6)
        assert np.abs(found - given).max() > 1e-3
    kernel, bias, last, offset = means
    logits = np.tanh(x @ kernel + bias) @ last + offset
    np.testing.assert_allclose(averaged(x), 1 / (1 + np.exp(-logits)), atol=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_mean_critic_has_statistics_of_its_own(frozen):
    """Those of real and generated batches alike, through the mean weights.

    All generated samples are one point, so that half the variance is that of the real ones.
    """
    layers, x = keras.layers, oracles.points(64)
    generator = keras.Sequential(
        [layers.Input((2,)), layers.Rescaling(0.0), layers.Dense(2, "tanh")]
    )
    norm = layers.BatchNormalization(center=False, scale=False)
    critic = keras.Sequential([layers.Input((2,)), layers.Dense(3), norm, layers.Dense(1)])
    generator.trainable = not frozen  # either plays
    preset = kgl.presets.dcgan(learning_rate=1e-2)
    fit = {"iterations": 4, "batch_size": 64, "verbose": 0}
    for _ in range(2):  # a preset serves twice
        averaged = preset.average_critic(generator, critic, x, **fit)
    hidden, found, _ = averaged.layers
    expected = hidden(x).numpy().var(0) / 2
    np.testing.assert_allclose(found.moving_variance, expected, rtol=1e-4)
    assert np.abs(found.moving_variance - norm.moving_variance).max() > 0.1
    assert found.momentum == norm.momentum


def test_a_game_that_cannot_go_on():
    x, generator = oracles.points(64), oracles.point_generator()
    critic = kgl.models.mlp_critic((2,), units=4)

    def average(data=x, learning_rate=1e-2, **kwargs):
        preset = kgl.presets.wgan_gp(critic_steps=1, learning_rate=learning_rate)
        given = {"iterations": 3, "verbose": 0, **kwargs}
        return preset.average_critic(generator, critic, data, **given)

    with pytest.raises(ValueError, match="`iterations` must be an integer of at least 1"):
        average(iterations=0)
    with pytest.raises(FloatingPointError, match="The game diverged: NaN or infinity in"):
        average(learning_rate=1e30)
    with pytest.raises(TypeError, match="`critic` must be a Keras model"):
        kgl.presets.wgan_gp().average_critic(generator, None, x)
    # latents of another distribution, for a generator that does not say their shape
    seen = average(latent=kgl.latents.Uniform((3,)))
    assert np.isfinite(seen.get_weights()[0]).all()
