import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles


class Constant(kgl.callbacks.StepCallback):
    """Adds a constant to the critic's loss; counts how often it is traced."""

    traces = 0

    def __init__(self, value):
        super().__init__()
        self.value = value

    def critic_loss(self, real, fake):
        Constant.traces += 1
        return tf.constant(float(self.value))


class Shift(kgl.callbacks.StepCallback):
    """Moves what the critic is given, real and generated alike."""

    def critic_inputs(self, x):
        return x + 10.0


class Push(kgl.callbacks.StepCallback):
    """A term for the generator alone: pulls its samples to the right."""

    def generator_loss(self, real, fake):
        assert real.shape == fake.shape
        return -100.0 * tf.reduce_mean(fake[:, 0])


class Clip(kgl.callbacks.StepCallback):
    """Acts on the critic after each update."""

    def after_critic_update(self):
        for v in self.model.critic.trainable_variables:
            v.assign(tf.clip_by_value(v, -0.01, 0.01))


def gan(critic=None, **kwargs):
    keras.utils.set_random_seed(0)
    trainer = kgl.GAN(oracles.point_generator(), critic or oracles.smooth_critic((2,)))
    trainer.compile(**kwargs)
    return trainer


def fit(trainer, *callbacks):
    history = trainer.fit(
        oracles.points(16), batch_size=8, callbacks=[*callbacks], shuffle=False, verbose=0
    )
    return {k: v[0] for k, v in history.history.items()}


@pytest.mark.parametrize("jit", [False, True])
def test_hooks_are_traced_into_the_step(jit):
    trainer = gan(jit_compile=jit)
    Constant.traces = 0
    for _ in range(3):
        assert fit(trainer, Constant(2.5))["penalty"] == 2.5
    assert Constant.traces == 1  # once for three fits of two updates each


def test_fits_with_other_callbacks_trace_anew():
    trainer = gan()
    assert fit(trainer)["penalty"] == 0
    assert fit(trainer, Constant(1))["penalty"] == 1
    assert fit(trainer, Constant(2))["penalty"] == 2
    assert fit(trainer, Constant(1), Constant(2))["penalty"] == 3
    callback = Constant(4)
    assert fit(trainer, callback)["penalty"] == 4
    callback.value = 5  # the same object with another setting
    assert fit(trainer, callback)["penalty"] == 5
    callback.value = np.array(6.0)  # a setting that cannot be compared: traced anew every time
    assert fit(trainer, callback)["penalty"] == 6
    callback.value[...] = 7
    assert fit(trainer, callback)["penalty"] == 7
    assert fit(trainer)["penalty"] == 0


def test_a_failed_fit_leaves_no_callback_behind():
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("stop")

    trainer = gan()
    with pytest.raises(RuntimeError):
        fit(trainer, Constant(1), Fails())
    assert fit(trainer)["penalty"] == 0


def test_critic_inputs():
    critic = oracles.Linear([1.0, 0.0])
    trainer = gan(keras.Sequential([keras.layers.Input((2,)), critic]))
    seen = []

    class See(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            seen.append((float(tf.reduce_mean(real)), float(tf.reduce_mean(fake))))

    trainer.compile(run_eagerly=True)
    fit(trainer, See())
    fit(trainer, Shift(), See())
    np.testing.assert_allclose(np.subtract(seen[2], seen[0]), 10.0, atol=1.0)
    assert seen[2][1] > 9


def test_critic_inputs_of_the_generators_move():
    """The generator's samples go through the hook, too."""
    seen = []

    class See(kgl.callbacks.StepCallback):
        def generator_loss(self, real, fake):
            seen.append((float(tf.reduce_mean(real)), float(tf.reduce_mean(fake))))

    trainer = gan(run_eagerly=True)
    fit(trainer, Shift(), See())
    assert min(min(pair) for pair in seen) > 8


def test_generator_loss():
    plain, pushed = gan(), gan()
    fit(plain)
    logs = fit(pushed, Push())
    z = plain.latent.sample(64, seed=0)
    assert logs["penalty"] == 0
    assert np.mean(pushed(z)[:, 0]) > np.mean(plain(z)[:, 0])


@pytest.mark.parametrize("jit", [False, True])
def test_after_critic_update(jit):
    trainer = gan(jit_compile=jit)
    fit(trainer, Clip())
    assert max(np.abs(w).max() for w in trainer.critic.get_weights()) <= 0.01
