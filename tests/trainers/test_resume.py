"""A run that `BackupAndRestore` brings back sees the batches that are left, in the same order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def array(folder):
    return oracles.points(20), {"batch_size": 4}


def toy(folder):
    return kgl.data.eight_gaussians(n=40, batch_size=8), {}


def toy_without_end(folder):
    """Seven of ten batches an epoch."""
    return kgl.data.swiss_roll(n=40, batch_size=4).repeat(), {"steps_per_epoch": 7}


def folder(folder):
    if not (folder / "images").exists():
        (folder / "images").mkdir()
        for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (12, 2, 1, 1))):
            keras.utils.save_img(folder / "images" / f"{i}.png", image, scale=False)
    data = kgl.data.image_folder(folder / "images", (2, 1, 1), batch_size=4)
    return data.map(lambda x: tf.reshape(x, (4, 2))), {}


def foreign(folder):
    """A dataset of the user's that is shuffled with a seed."""
    data = tf.data.Dataset.from_tensor_slices(oracles.points(20))
    return data.shuffle(20, seed=3).batch(4, drop_remainder=True), {}


def make(trainer):
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    adam = keras.optimizers.Adam(0.01)
    if trainer is kgl.GAN:
        model = kgl.GAN(oracles.point_generator(), critic)
        model.compile(generator_optimizer="adam", critic_optimizer=adam, jit_compile=False)
        return model
    model = kgl.FineTuner(None, critic, step_size=0.1, particles=16, max_layers=3)
    model.compile(critic_optimizer=adam, jit_compile=False)
    return model


@pytest.mark.parametrize("trainer", [kgl.GAN, kgl.FineTuner])
@pytest.mark.parametrize("load", [array, toy, toy_without_end, folder, foreign])
def test_the_same_batches(tmp_path, trainer, load):
    def run(*callbacks):
        """As a program of its own."""
        keras.utils.set_random_seed(5)
        model = make(trainer)
        x, settings = load(tmp_path)
        callbacks = [kgl.callbacks.GradientPenalty(10.0), *callbacks]
        if trainer is kgl.GAN:
            callbacks.append(kgl.callbacks.CriticInnerLoop(3))
        history = model.fit(x, epochs=3, callbacks=callbacks, verbose=0, **settings)
        return history.history, model.get_weights()

    backup = keras.callbacks.BackupAndRestore
    logs, weights = run()
    with pytest.raises(KeyboardInterrupt):
        run(backup(str(tmp_path / "backup")), Interrupt())
    resumed_logs, resumed = run(backup(str(tmp_path / "backup")))
    assert {k: v[2:] for k, v in logs.items()} == resumed_logs
    for a, b in zip(weights, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_epoch_that_a_fit_is_told_to_begin_with():
    """Its data are those that are given: nothing is passed over."""
    seen = []
    x = np.repeat(np.arange(8, dtype="float32")[:, None], 2, 1) / 8
    data = tf.data.Dataset.from_tensor_slices(x).batch(2)
    data = data.map(lambda b: tf.numpy_function(lambda b: seen.append(b[0, 0]) or b, [b], b.dtype))
    data = data.map(lambda b: tf.ensure_shape(b, (2, 2)))
    make(kgl.GAN).fit(data, epochs=3, initial_epoch=2, verbose=0)
    assert seen[-4:] == [0, 0.25, 0.5, 0.75]
