"""A run whose numbers go wrong says what was found, and keeps the layers that are right."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

x = oracles.points(64)


def tuner(learning_rate=1e-3, **kwargs):
    critic = kgl.models.mlp_critic((2,), units=8)
    made = kgl.FineTuner(None, critic, **{"step_size": 0.1, "insert": "top", **kwargs})
    made.compile(critic_optimizer=keras.optimizers.SGD(learning_rate), run_eagerly=True)
    return made


def fit(made, data=x, **kwargs):
    callbacks = [kgl.callbacks.GradientPenalty()]
    made.fit(data, callbacks=callbacks, verbose=0, **{"epochs": 3, **kwargs})


@pytest.mark.parametrize("particles", [None, "auto", 40])
def test_a_step_that_overflows_is_named(particles):
    made = tuner(step_size=1e20, output_activation=None, particles=particles)
    with pytest.raises(
        FloatingPointError, match=r"step_size=1e\+20.*0 layers remain.*smaller step"
    ):
        fit(made)
    assert made.stack.depth == 0
    made.step_size = 0.1  # and the run goes on, from particles that are replayed
    fit(made)
    assert made.stack.depth == 3
    z = made.latent.sample(8, 0)
    assert np.isfinite(made(z)).all()


def test_a_step_that_is_far_too_long_is_named_when_the_critic_breaks():
    made = tuner(step_size=1e12, output_activation=None)
    with pytest.raises(FloatingPointError, match="moved samples as far as|The step overflows"):
        fit(made, epochs=20)


def test_auto_takes_no_step_that_overflows():
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear([1e-30, 0.0])])
    made = kgl.FineTuner(None, critic, kgl.step_rules.Backtracking(3e38), output_activation=None)
    made.compile(critic_optimizer=keras.optimizers.SGD(0.0))
    made.fit(x, verbose=0)
    assert np.isfinite(made(made.latent.sample(8, 0))).all()


def test_nan_in_the_data_is_named():
    """In a batch that no check sees before, whatever comes after it."""
    bad = np.array(x)
    bad[40] = np.nan
    data = tf.data.Dataset.from_tensor_slices(bad).batch(16, drop_remainder=True)
    made = tuner()
    with pytest.raises(
        FloatingPointError, match="weights are not.*0 layers.*1 batches of the data"
    ):
        fit(made, data)


def test_a_learning_rate_is_blamed_where_nothing_else_is_wrong():
    made = tuner(learning_rate=1e30)
    with pytest.raises(FloatingPointError, match="critic.*The data are finite.*learning rate"):
        fit(made)
