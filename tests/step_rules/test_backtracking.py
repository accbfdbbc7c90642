"""The step-size rule."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

CENTER = np.array([0.3, -0.2])


def fit(tuner, epochs=1):
    return tuner.fit(oracles.points(32), batch_size=16, epochs=epochs, verbose=0).history


@pytest.mark.parametrize(("step_size", "taken"), [(0.5, 0.5), (0.9, 0.9), (1.5, 0.75), (5, 0.625)])
def test_armijo_on_a_quadratic(step_size, taken):
    """f rises by (η − η²/2)‖∇f‖², of which half of η‖∇f‖² is left up to η = 1."""
    rule = kgl.step_rules.Backtracking(step_size, samples=100)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    logs = fit(tuner, epochs=2)
    np.testing.assert_array_equal(tuner.stack.step_sizes, [taken, taken])
    z = tuner.latent.sample(50, seed=0)
    expected = CENTER + (1 - taken) ** 2 * (z - CENTER)
    np.testing.assert_allclose(tuner(z), expected, atol=1e-5)
    np.testing.assert_allclose(tuner.sampler()(z), expected, atol=1e-5)
    # the log is ‖∇φL‖², whatever the step
    assert logs["flow_norm"][1] / logs["flow_norm"][0] == pytest.approx((1 - taken) ** 2, rel=1e-3)


def test_without_a_step_it_grows_to_the_longest():
    """η = 1 is the longest by Armijo, and the search doubles; the estimate of W has its noise."""
    tuner = oracles.quadratic_tuner(CENTER, step_size="auto", particles=1000)
    best = np.tile(CENTER, (32, 1)).astype("float32")  # so that the scores may rise up to 0
    tuner.fit(best, batch_size=16, epochs=2, verbose=0)
    assert (tuner.stack.step_sizes > 0.35).all()
    assert (tuner.stack.step_sizes <= 1).all()
    z = tuner.latent.sample(50, seed=0)
    assert np.abs(tuner(z) - CENTER).max() < 0.4 * np.abs(z - CENTER).max()


def test_without_a_step_samples_stay_below_the_data():
    """A linear critic rises for ever; its scores may rise to those of the data, W in the log."""
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear([3.0, 0.0])])
    tuner = kgl.FineTuner(None, critic, output_activation=None, max_layers=20, particles=1000)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0))
    logs = fit_to(tuner, mean := 2.0, epochs=8)
    gap = np.array(logs["wasserstein"])
    assert gap[0] == pytest.approx(3 * mean, abs=0.4)  # of 1,000 particles
    rises = 9 * tuner.stack.step_sizes  # η‖a‖²
    assert 0.5 * gap[0] < rises[0] <= gap[0]
    moved = float(tuner(tuner.latent.sample(1000, seed=0))[:, 0].numpy().mean())
    assert 0.8 * mean < moved < 1.1 * mean


def fit_to(tuner, mean, epochs):
    x = oracles.points(512)
    x = (x - x.mean(axis=0) + [mean, 0.0]).astype("float32")
    return tuner.fit(x, batch_size=64, epochs=epochs, verbose=0).history


def test_no_layer_where_none_helps():
    rule = kgl.step_rules.Backtracking(100.0, halvings=2, samples=100)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    logs = fit(tuner, epochs=2)
    assert tuner.stack.depth == 0
    assert logs["layers"] == [0, 0]
    assert logs["flow_norm"] == [0, 0]
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear([0.0, 0.0])])
    rule = kgl.step_rules.Backtracking(0.1, samples=100)
    flat = kgl.FineTuner(None, critic, rule, output_activation=None)
    flat.compile(critic_optimizer=keras.optimizers.SGD(0.0))
    fit(flat)
    assert flat.stack.depth == 0


@pytest.mark.parametrize(
    "rule",
    [
        kgl.step_rules.Backtracking(samples=10),
        kgl.step_rules.LineSearch(lambda x: {"distance": np.abs(x).mean()}, samples=10),
    ],
)
def test_a_critic_of_nan_is_an_error(rule):
    """As it is without a rule: no layer could ever be stacked again."""
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    tuner.critic.set_weights([np.array([np.nan, 0.0])])
    with pytest.raises(FloatingPointError, match="critic's weights are not finite.*0 layers remai"):
        fit(tuner)


def test_particles_move_by_the_step_taken():
    rule = kgl.step_rules.Backtracking(1.5)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule, particles=20)
    tuner.prepare(16)
    start = tuner.carried.positions.numpy()
    fit(tuner)
    moved = tuner.carried.positions.numpy()
    np.testing.assert_allclose(moved, CENTER + 0.25 * (start - CENTER), atol=1e-5)


def test_a_rule_is_saved_with_the_tuner(tmp_path):
    rule = kgl.step_rules.Backtracking(1.5, halvings=1, samples=50, seed=7)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    tuner.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras")
    assert loaded.step_size.get_config() == rule.get_config()
    fit(loaded)
    np.testing.assert_array_equal(loaded.stack.step_sizes, [0.75])


def test_bad_input():
    with pytest.raises(ValueError, match="`halvings` must be an integer from 0 to 100"):
        kgl.step_rules.Backtracking(halvings=-1)
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        kgl.step_rules.Backtracking(-1.0)
