import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles


class Moves(kgl.callbacks.StepCallback):
    """Counts critic updates and generator moves, in the order they happen."""

    def __init__(self):
        super().__init__()
        self.log = []

    def after_critic_update(self):
        self.log.append("c")

    def after_generator_move(self):
        self.log.append("G")


def gan():
    trainer = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    trainer.compile(run_eagerly=True)
    return trainer


def tuner():
    trainer = kgl.FineTuner(None, oracles.smooth_critic((2,)), 0.1, max_layers=9)
    trainer.compile(run_eagerly=True)
    return trainer


def order(trainer, epochs, *callbacks, **kwargs):
    moves = Moves()
    data = tf.data.Dataset.from_tensor_slices(oracles.points(12)).batch(4)
    trainer.fit(data, epochs=epochs, callbacks=[*callbacks, moves], verbose=0, **kwargs)
    return "".join(moves.log)


def test_default():
    assert order(gan(), 1) == "cGcGcG"
    assert order(tuner(), 2) == "cccGcccG"  # one pass over the data


def test_wherever_epochs_fall():
    """Three batches an epoch, a move after every two updates, carried on into the next fit."""
    loop = kgl.callbacks.CriticInnerLoop(2)
    for trainer in (gan(), tuner()):
        assert order(trainer, 2, loop) == "ccGccGccG"
        assert order(trainer, 1, loop) == "ccGc"
        assert order(trainer, 1, loop) == "cGccG"


def test_a_fit_without_it_moves_at_its_epochs_end():
    trainer = tuner()
    order(trainer, 1, kgl.callbacks.CriticInnerLoop(2))
    assert order(trainer, 1) == "cccG"


def test_steps_per_epoch_is_the_pass():
    data = tf.data.Dataset.from_tensor_slices(oracles.points(12)).batch(4).repeat()
    trainer, moves = tuner(), Moves()
    trainer.fit(data, epochs=2, steps_per_epoch=5, callbacks=[moves], verbose=0)
    assert "".join(moves.log) == "cccccGcccccG"
    assert trainer.stack.depth == 2


def test_two_of_them():
    loops = [kgl.callbacks.CriticInnerLoop(2), kgl.callbacks.CriticInnerLoop(3)]
    with pytest.raises(ValueError, match=r"Expected one CriticInnerLoop. Received: 2, of \[2, 3\]"):
        order(gan(), 1, *loops)


@pytest.mark.parametrize("steps", [0, -1, 2.5, None, "5"])
def test_bad_steps(steps):
    with pytest.raises(ValueError, match="`steps` must be an integer from 1 to .*Received"):
        kgl.callbacks.CriticInnerLoop(steps)


def test_not_in_a_stock_model():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="joins the training step of a kgl.GAN or kgl.FineTuner"):
        model.fit(
            np.zeros((2, 1)), np.zeros(2), callbacks=[kgl.callbacks.CriticInnerLoop(2)], verbose=0
        )
