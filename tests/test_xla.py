"""XLA is used where a trial says that it is faster, and the trial is not repeated."""

import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import _xla
from tests import oracles


def square(x):
    return (tf.square(x),)


def sine(x):
    return (tf.sin(x),)


def root(x):
    return (tf.sqrt(x),)


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """The speeds that trials find, in turn, and how many there were."""
    made = []

    class Trials(list):
        def __call__(self, step, state):
            made.append((state, tf.function(step, autograph=False)(*state)))
            return self.pop(0)

    speeds = Trials()
    speeds.made = made
    monkeypatch.setattr(_xla, "trial", speeds)
    monkeypatch.setattr(_xla, "_answers", {})
    return speeds


def test_the_faster_one_is_taken_and_kept(trials, caplog):
    x = tf.ones((3, 2))
    trials += [1.7, 0.6]
    with caplog.at_level(logging.INFO, "keras_gradlayer"):
        assert _xla.faster("a square", square, [x])
        assert not _xla.faster("a sine", sine, [x])
    assert [r.message for r in caplog.records] == [
        "jit_compile='auto': XLA on for a square (1.70 of the speed of graph mode, measured)",
        "jit_compile='auto': XLA off for a sine (0.60 of the speed of graph mode, measured)",
    ]
    # in this process, and in the next
    assert _xla.faster("a square", square, [x])
    _xla._answers.clear()
    assert _xla.faster("a square", square, [x])
    assert not _xla.faster("a sine", sine, [x])
    assert len(trials.made) == 2
    # other operations or shapes are other programs
    trials += [0.5, 0.5]
    assert not _xla.faster("a root", root, [x])
    assert not _xla.faster("a square", square, [tf.ones((4, 2))])


def test_answers_that_cannot_be_kept_or_read(trials, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setattr(_xla, "_path", lambda: blocked / "jit_compile.json")
    trials += [2.0]
    assert _xla.faster("a square", square, [tf.ones(3)])
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    monkeypatch.setattr(_xla, "_path", lambda: broken)
    trials += [2.0]
    assert _xla.faster("a sine", sine, [tf.ones(3)])
    assert list(json.loads(broken.read_text()).values()) == [True]


def test_the_trial_times_both(monkeypatch):
    """By a clock of its own: graph mode takes 3 s a run, XLA 1 s, or the other way round."""
    for costs, expected in (((3.0, 1.0), 3.0), ((1.0, 4.0), 0.25)):
        clock = [0.0]
        monkeypatch.setattr(_xla.time, "perf_counter", lambda clock=clock: clock[0])

        def compile(program, autograph, jit_compile, costs=costs, clock=clock):
            def run(*state):
                clock[0] += costs[jit_compile]
                return program(*state)

            return run

        monkeypatch.setattr(_xla.tf, "function", compile)
        # the fixture of all tests takes the place of the trial: this is the real one
        assert TRIAL(square, [tf.ones(4)]) == expected
        monkeypatch.undo()


def test_an_update_is_adams():
    """The step that is timed, against Keras' optimizer."""
    dense = keras.layers.Dense(1)
    x = tf.constant(oracles.points(8))
    dense(x)
    variables = dense.trainable_variables
    step, state = _xla.updates(lambda c: tf.reduce_mean(dense(x) ** 2), variables)
    moved = step(*step(*state))
    optimizer = keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9)
    before = [v.numpy() for v in variables]
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(dense(x) ** 2)
        optimizer.apply(tape.gradient(loss, variables), variables)
    for old, new, ours in zip(before, variables, moved):
        # Keras corrects the bias of the first two steps, of a gradient that hardly changes
        bias = (0.5 / 0.1**0.5 + 0.75 / 0.19**0.5) / 2
        np.testing.assert_allclose((ours - old) / (new - old), bias, rtol=0.01)


TRIAL = _xla.trial


def make(trainer, **kwargs):
    critic = kgl.models.mlp_critic((2,), units=8, depth=2)
    if trainer == "tuner":
        model = kgl.FineTuner(None, critic, 0.1)
    else:
        generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
        model = kgl.GAN(generator, critic)
    model.compile(**kwargs)
    return model


@pytest.mark.parametrize("trainer", ["tuner", "gan"])
def test_trainers_ask_when_they_first_need_to_know(trainer, trials):
    model = make(trainer)
    before = oracles.weights_of(model)
    assert not trials.made
    trials += [0.5]
    model.fit(oracles.points(32), batch_size=16, verbose=0)
    assert model.jit_compile is False
    (found,) = trials.made
    assert all(np.isfinite(g).all() for g in found[1])
    assert not np.allclose(found[1][0], found[0][0], atol=1e-6)  # it is a step
    # the trial has no effects of its own
    again = make(trainer, jit_compile=True)
    for a, b in zip(before, oracles.weights_of(again), strict=True):
        assert a.shape == b.shape
    # asked for, nothing is tried
    again.fit(oracles.points(32), batch_size=16, verbose=0)
    assert again.jit_compile is True
    assert len(trials.made) == 1


def test_a_trial_changes_nothing(trials):
    model = make("gan")
    before = oracles.weights_of(model)
    trials += [2.0]
    assert model.jit_compile is True
    for a, b in zip(before, oracles.weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_samplers_ask_too(trials):
    model = make("tuner", jit_compile=False)
    model.stack.append()
    sampler = model.sampler()
    trials += [3.0]
    sampler.predict(sampler.latent.sample(4, seed=0), verbose=0)
    assert sampler.jit_compile is True
    assert len(trials.made) == 1


def test_only_yes_no_and_auto():
    with pytest.raises(ValueError, match="True, False or 'auto'. Received: jit_compile=1.5"):
        make("tuner", jit_compile=1.5)


def test_what_xla_cannot_compile(monkeypatch, caplog):
    monkeypatch.setattr(_xla, "trial", TRIAL)

    def step(x):
        return (tf.ensure_shape(tf.numpy_function(np.square, [x], "float32"), x.shape),)

    with caplog.at_level(logging.INFO, "keras_gradlayer"):
        assert not _xla.faster("a Python function", step, [tf.ones(3)])
    assert "XLA off for a Python function, which it failed to compile" in caplog.text
