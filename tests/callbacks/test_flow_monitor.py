"""What a layer did, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

CENTER = np.array([0.3, -0.2])


def fit(tuner, *callbacks, epochs=3, **kwargs):
    return tuner.fit(
        oracles.points(32), batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs
    ).history


@pytest.mark.parametrize("steps", [1, 4])
def test_quadratic_critic(steps):
    """∇f = c − z, L = 1: each layer moves z by 1 − (1 − η/m)^m of its distance to c."""
    tuner = oracles.quadratic_tuner(CENTER, steps_per_layer=steps)
    held_out = oracles.points(50, seed=5)
    logs = fit(tuner, kgl.callbacks.FlowMonitor(held_out, samples=300, seed=4))
    z = tuner.latent.sample(300, seed=4)
    for k in range(3):
        away = np.linalg.norm(tuner(z, layers=k) - CENTER, axis=1)
        shrink = 1 - (1 - 0.1 / steps) ** steps
        assert logs["step_norm"][k] == pytest.approx(shrink * away.mean(), rel=1e-4)
        assert logs["flow_gradient"][k] == pytest.approx(away.mean(), rel=1e-4)
        # secants of a float32 gradient over steps of some hundredths: 1e-7 / 1e-2
        assert logs["lipschitz"][k] == pytest.approx(1.0, rel=1e-3)
        assert logs["injectivity_margin"][k] == pytest.approx(1 - 0.1 / steps, rel=1e-3)
        scores = -0.5 * np.sum((held_out[:300] - CENTER) ** 2, axis=1)
        expected = scores.mean() + 0.5 * np.mean(away**2)
        assert logs["heldout_wasserstein"][k] == pytest.approx(expected, rel=1e-4)


def test_uneven_curvature():
    """The largest of the curvatures is found, though the gradient points elsewhere."""
    critic = keras.Sequential(
        [keras.layers.Input((2,)), oracles.Quadratic([0.0, 0.0], curvature=[0.2, 3.0])]
    )
    tuner = kgl.FineTuner(None, critic, 0.1, output_activation=None)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0))
    logs = fit(tuner, kgl.callbacks.FlowMonitor(), epochs=1)
    assert logs["lipschitz"][0] == pytest.approx(3.0, rel=1e-2)
    assert logs["injectivity_margin"][0] == pytest.approx(0.7, rel=1e-2)
    assert "heldout_wasserstein" not in logs


def test_kinks_are_seen():
    """The gradient of −|x| jumps by 2: over a step of η the slope is 2/η, and the layer folds."""
    x = keras.Input((1,))
    critic = keras.Model(x, -keras.ops.abs(x))
    tuner = kgl.FineTuner(None, critic, 0.5, output_activation=None)
    tuner.compile = None
    monitor = kgl.callbacks.FlowMonitor(samples=500)
    monitor.set_model(tuner)
    tuner.stack.append()
    found = monitor._measures(0, 0.5)
    assert found["lipschitz"] == pytest.approx(2 / 0.5, rel=1e-3)
    assert found["injectivity_margin"] == pytest.approx(-1.0, rel=1e-2)


def test_epochs_without_a_layer_are_nan():
    tuner = oracles.quadratic_tuner(CENTER)
    loop = kgl.callbacks.CriticInnerLoop(3)  # of two batches an epoch: layers in epochs 2, 3
    logs = fit(tuner, loop, kgl.callbacks.FlowMonitor())
    assert np.isnan(logs["step_norm"]).tolist() == [True, False, False]


def test_the_critic_is_left_as_it_was():
    """It is measured as it was stacked, though it has trained on since; dropout draws on, too."""
    seen = []
    for callbacks in ([], [kgl.callbacks.FlowMonitor(samples=50)]):
        keras.utils.set_random_seed(3)
        critic = keras.Sequential(
            [
                keras.layers.Input((2,)),
                keras.layers.Dense(8, "tanh"),
                keras.layers.Dropout(0.5, seed=1),
                keras.layers.Dense(1),
            ]
        )
        tuner = kgl.FineTuner(None, critic, 0.1, output_activation=None)
        tuner.compile(critic_optimizer=keras.optimizers.Adam(0.01))
        fit(tuner, kgl.callbacks.CriticInnerLoop(3), *callbacks)
        seen.append(oracles.weights_of(tuner))
    for a, b in zip(*seen, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    """What watches and what searches measure in float32 from the first layer on."""
    keras.config.set_dtype_policy(policy)
    seen = []

    def score(x):
        seen.append(x.dtype)
        return {"s": float(x.std())}

    search = kgl.step_rules.LineSearch(score, 0.1, samples=50)
    for rule in (search, kgl.step_rules.Backtracking(0.1, samples=50)):
        tuner = kgl.FineTuner(oracles.point_generator(), oracles.smooth_critic((2,), None), rule)
        tuner.compile()
        watching = [kgl.callbacks.FlowMonitor(samples=50), kgl.callbacks.Scores(score, samples=50)]
        logs = fit(tuner, *watching, epochs=2)
        assert set(seen) == {np.dtype("float32")}
    assert np.isfinite(logs["step_norm"]).any()


def test_bad_input():
    tuner = oracles.quadratic_tuner(CENTER)
    with pytest.raises(ValueError, match=r"must be.*\(n, 2\). Received: \(5, 3\)"):
        fit(tuner, kgl.callbacks.FlowMonitor(np.zeros((5, 3), "float32")))
    data = tf.data.Dataset.from_tensor_slices(oracles.points(40)).batch(8)
    fit(tuner, kgl.callbacks.FlowMonitor(data, samples=20), epochs=1)
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    with pytest.raises(TypeError, match="FlowMonitor is for a kgl.FineTuner. Received: a GAN"):
        fit(gan, kgl.callbacks.FlowMonitor())
