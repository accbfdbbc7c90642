"""Many updates in one program are the same updates, and Keras' features still see them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.trainers import _feed
from tests import oracles


def gan(jit_compile=True, **kwargs):
    keras.utils.set_random_seed(3)
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model = kgl.GAN(generator, kgl.models.mlp_critic((2,), units=8, depth=2))
    model.compile(jit_compile=jit_compile, **kwargs)
    return model


def tuner(jit_compile=True, **kwargs):
    keras.utils.set_random_seed(3)
    model = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=8, depth=2), 0.1)
    model.compile(jit_compile=jit_compile, **kwargs)
    return model


class Calls(keras.callbacks.Callback):
    """How often Keras calls the train function, without asking to see each batch."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def on_train_begin(self, logs=None):
        inner = self.model.train_function

        def count(iterator):
            self.count += 1
            return inner(iterator)

        self.model.train_function = count


def data(batches=12):
    return tf.data.Dataset.from_tensor_slices(oracles.points(16 * batches)).batch(
        16, drop_remainder=True
    )


@pytest.mark.parametrize("make", [gan, tuner])
@pytest.mark.parametrize(("inner", "steps_per_epoch"), [(None, 7), (5, None), (8, 7)])
def test_in_one_program_as_one_by_one(make, inner, steps_per_epoch):
    """Moves fall where they would, within groups, at their ends and across epochs."""
    found = []
    for steps in (1, "auto", 4):
        model = make(steps_per_execution=steps, jit_compile=inner == 5)
        callbacks = [kgl.callbacks.GradientPenalty()]
        if inner:
            callbacks.append(kgl.callbacks.CriticInnerLoop(inner))
        history = model.fit(
            data(), epochs=3, steps_per_epoch=steps_per_epoch, callbacks=callbacks, verbose=0
        ).history
        optimizer = model.critic_optimizer
        assert int(optimizer.iterations) == 3 * (steps_per_epoch or 12)
        found.append((oracles.weights_of(model), history, model.loop.since_move))
    for weights, history, updates in found[1:]:
        assert updates == found[0][2]
        for a, b in zip(weights, found[0][0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # other fusions of XLA's
        for name in history:
            np.testing.assert_allclose(history[name], found[0][1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [gan, tuner])
def test_how_many_steps_a_program_takes(make):
    def calls(callbacks=(), batches=None, **kwargs):
        model, calls = make(jit_compile=False, **kwargs), Calls()
        model.fit(batches or data(), verbose=0, callbacks=[calls, *callbacks])
        return calls.count

    assert calls() == 1
    assert calls(steps_per_execution=6) == 2
    assert calls(steps_per_execution=5) == 3
    watching = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    assert calls([watching]) == 12
    assert calls([keras.callbacks.TerminateOnNaN()]) == 1
    ragged = tf.data.Dataset.from_tensor_slices(oracles.points(190)).batch(16)
    assert calls(batches=ragged) == 12


def test_every_batch_is_used_once_an_epoch():
    """Also where groups do not divide the epoch; the order is the data's."""
    seen = []

    class Watch(kgl.callbacks.StepCallback):
        def critic_inputs(self, x):
            tf.numpy_function(lambda x: seen.append(x[0, 0]), [x], [])
            return x

    model = gan()
    model.compile(jit_compile=False, steps_per_execution=5)
    numbered = np.arange(12 * 4, dtype="float32").reshape(12, 4)[..., None] * np.ones(2, "float32")
    batches = tf.data.Dataset.from_tensor_slices(numbered)
    model.fit(batches, epochs=2, callbacks=[Watch()], verbose=0)
    # the critic is given real and generated samples at an update, and both again at a move
    real = [v for v in seen if v == np.round(v) and v % 4 == 0]
    assert [k for k, _ in itertools.groupby(real)] == [4.0 * i for i in range(12)] * 2


@pytest.mark.parametrize("source", ["array", "dataset"])
def test_shuffled_data_comes_in_one_order(source):
    """Whichever way the steps are taken."""

    def weights(callbacks=(), **kwargs):
        model = tuner(**kwargs)
        if source == "array":
            model.fit(oracles.points(96), batch_size=16, epochs=2, verbose=0, callbacks=callbacks)
        else:
            batches = kgl.data.eight_gaussians(n=96, batch_size=16, seed=1)
            model.fit(batches, epochs=2, verbose=0, callbacks=callbacks)
        return oracles.weights_of(model)

    expected = weights()
    watching = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    for found in (weights(steps_per_execution=1), weights([watching])):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_group_sizes():
    def size(shape, steps):
        spec = tf.data.Dataset.from_tensors(np.zeros((1, *shape), "float32")).map(lambda x: x[0])
        return _feed.group_size(spec, steps)

    assert size((50, 2), 50) == 50
    assert size((50, 2), 10_000) == 250  # 40 groups, of at most 256
    assert size((64, 32, 32, 3), 781) == 21  # of at most 16 MB, 38 groups
    assert size((64, 256, 256, 3), 781) == 1


def test_callbacks_that_watch_batches():
    def watches(callback):
        return _feed.watches_batches(callback)

    class Own(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    stock = keras.callbacks
    assert watches(Own())
    assert watches(stock.ModelCheckpoint("x.keras", save_freq=5))
    assert not watches(stock.ModelCheckpoint("x.keras"))
    assert not watches(stock.BackupAndRestore("folder"))
    assert watches(stock.BackupAndRestore("folder", save_freq=5))
    assert watches(stock.TensorBoard("folder", update_freq="batch"))
    assert watches(stock.TensorBoard("folder", profile_batch=(2, 4)))
    assert watches(stock.TensorBoard("folder"))  # it may profile some of them
    assert not watches(stock.TerminateOnNaN())
    assert not watches(stock.EarlyStopping("loss"))
    assert not watches(kgl.callbacks.GradientPenalty())


def test_a_shorter_inner_loop_after_a_longer():
    """Updates that an earlier fit left count: the move is due at once."""
    model = tuner()
    x = oracles.points(28)
    fit = {"batch_size": 4, "verbose": 0}
    model.fit(x, callbacks=[kgl.callbacks.CriticInnerLoop(5)], **fit)
    assert (model.loop.since_move, model.stack.depth) == (2, 1)
    model.fit(x, callbacks=[kgl.callbacks.CriticInnerLoop(1)], **fit)
    assert (model.loop.since_move, model.stack.depth) == (0, 8)


def test_predict_after_fit_is_as_before():
    model = gan()
    model.fit(data(), verbose=0)
    assert model.steps_per_execution == 1


def test_batches_by_hand_stack_layers():
    model = tuner()
    model.fit(oracles.points(64), batch_size=16, verbose=0)
    for _ in range(8):
        model.train_on_batch(oracles.points(16))
    assert model.stack.depth == 3
