"""η by a Keras schedule of the number of layers."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

CENTER = np.array([0.3, -0.2])


def test_a_schedule_counts_layers(tmp_path):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.8, decay_steps=1, decay_rate=0.5)
    tuner = oracles.quadratic_tuner(CENTER, step_size=schedule)
    tuner.fit(oracles.points(32), batch_size=16, epochs=3, verbose=0)
    np.testing.assert_allclose(tuner.stack.step_sizes, [0.8, 0.4, 0.2], rtol=1e-6)
    z = tuner.latent.sample(50, seed=0)
    np.testing.assert_allclose(tuner(z), CENTER + 0.2 * 0.6 * 0.8 * (z - CENTER), atol=1e-5)
    tuner.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras")
    loaded.fit(oracles.points(32), batch_size=16, verbose=0)
    np.testing.assert_allclose(loaded.stack.step_sizes[-1], 0.1, rtol=1e-6)


def test_another_step_for_the_layers_to_come():
    tuner = oracles.quadratic_tuner(CENTER, step_size=0.1)
    tuner.fit(oracles.points(32), batch_size=16, verbose=0)
    tuner.step_size = 0.3
    tuner.fit(oracles.points(32), batch_size=16, verbose=0)
    np.testing.assert_array_equal(tuner.stack.step_sizes, [0.1, 0.3])


@pytest.mark.parametrize("step_size", [0, -1.0, np.nan, "small", None])
def test_bad_input(step_size):
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        kgl.FineTuner(None, oracles.smooth_critic((2,)), step_size)
