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


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """The speeds that trials find, in turn, and how many there were."""
    made = []

    class Trials(list):
        def __call__(self, graph, compiled, arguments):
            made.append(graph(*arguments))
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
        assert _xla.faster("a square", tf.square, (x,))
        assert not _xla.faster("a sum", tf.reduce_sum, (x,))
    assert [r.message for r in caplog.records] == [
        "jit_compile='auto': XLA on for a square (1.70 of the speed of graph mode, measured)",
        "jit_compile='auto': XLA off for a sum (0.60 of the speed of graph mode, measured)",
    ]
    # in this process, and in the next
    assert _xla.faster("a square", tf.square, (x,))
    _xla._answers.clear()
    assert _xla.faster("a square", tf.square, (x,))
    assert not _xla.faster("a sum", tf.reduce_sum, (x,))
    assert len(trials.made) == 2
    # other operations or shapes are other programs
    trials += [0.5, 0.5]
    assert not _xla.faster("a root", tf.sqrt, (x,))
    assert not _xla.faster("a square", tf.square, (tf.ones((4, 2)),))


def test_answers_that_cannot_be_kept_or_read(trials, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setattr(_xla, "_path", lambda: blocked / "jit_compile.json")
    trials += [2.0]
    assert _xla.faster("a square", tf.square, (tf.ones(3),))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    monkeypatch.setattr(_xla, "_path", lambda: broken)
    trials += [2.0]
    assert _xla.faster("a sum", tf.reduce_sum, (tf.ones(3),))
    assert list(json.loads(broken.read_text()).values()) == [True]


def test_the_trial_times_both():
    """A loop of many small operations is what XLA is best at: the clock must see that."""

    def program(x):
        _, x = tf.while_loop(lambda i, _: i < 3000, lambda i, x: (i + 1, x * 0.99 + 0.1), (0, x))
        return x

    graph = tf.function(program, autograph=False)
    compiled = tf.function(program, autograph=False, jit_compile=True)
    # the fixture of all tests takes the place of the trial: this is the real one
    assert TRIAL(graph, compiled, (tf.ones(4),)) > 1.5
    assert TRIAL(compiled, graph, (tf.ones(4),)) < 1 / 1.5


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
    assert all(np.isfinite(g).all() for g in found)
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
