"""The step-size rule."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

CENTER = np.array([0.3, -0.2])


def fit(tuner, *callbacks, epochs=1):
    return tuner.fit(
        oracles.points(32), batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks
    ).history


@pytest.mark.parametrize(("step_size", "taken"), [(0.5, 0.5), (0.9, 0.9), (1.5, 0.75), (5, 0.625)])
def test_armijo_on_a_quadratic(step_size, taken):
    """f rises by (η − η²/2)‖∇f‖², of which half of η‖∇f‖² is left up to η = 1."""
    tuner = oracles.quadratic_tuner(CENTER, step_size=step_size)
    logs = fit(tuner, kgl.callbacks.Backtracking(samples=100), epochs=2)
    np.testing.assert_array_equal(tuner.stack.step_sizes, [taken, taken])
    z = tuner.latent.sample(50, seed=0)
    expected = CENTER + (1 - taken) ** 2 * (z - CENTER)
    np.testing.assert_allclose(tuner(z), expected, atol=1e-5)
    np.testing.assert_allclose(tuner.sampler()(z), expected, atol=1e-5)
    # the log is ‖∇φL‖², whatever the step
    assert logs["flow_norm"][1] / logs["flow_norm"][0] == pytest.approx((1 - taken) ** 2, rel=1e-3)


def test_no_layer_where_none_helps():
    tuner = oracles.quadratic_tuner(CENTER, step_size=100.0)
    logs = fit(tuner, kgl.callbacks.Backtracking(halvings=2, samples=100), epochs=2)
    assert tuner.stack.depth == 0
    assert logs["layers"] == [0, 0]
    assert logs["flow_norm"] == [0, 0]
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear([0.0, 0.0])])
    flat = kgl.FineTuner(None, critic, 0.1, output_activation=None)
    flat.compile(keras.optimizers.SGD(0.0))
    fit(flat, kgl.callbacks.Backtracking(samples=100))
    assert flat.stack.depth == 0


@pytest.mark.parametrize(
    "rule",
    [
        kgl.callbacks.Backtracking(samples=10),
        kgl.callbacks.LineSearch(lambda x: {"distance": np.abs(x).mean()}, samples=10),
    ],
)
def test_a_critic_of_nan_is_an_error(rule):
    """As it is without a rule: no layer could ever be stacked again."""
    tuner = oracles.quadratic_tuner(CENTER)
    tuner.critic.set_weights([np.array([np.nan, 0.0])])
    with pytest.raises(FloatingPointError, match="critic's weights are not finite.*0 layers remai"):
        fit(tuner, rule)


def test_particles_move_by_the_step_taken():
    tuner = oracles.quadratic_tuner(CENTER, step_size=1.5, particles=20)
    tuner.prepare(16)
    start = tuner._particles.positions.numpy()
    fit(tuner, kgl.callbacks.Backtracking())
    moved = tuner._particles.positions.numpy()
    np.testing.assert_allclose(moved, CENTER + 0.25 * (start - CENTER), atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="`halvings` must be an integer of at least 0"):
        kgl.callbacks.Backtracking(halvings=-1)
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    with pytest.raises(TypeError, match="Backtracking is for a kgl.FineTuner. Received: a GAN"):
        fit(gan, kgl.callbacks.Backtracking())
