import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles


def make(particles="auto", insert="top", generator=True, **kwargs):
    keras.utils.set_random_seed(0)
    tuner = kgl.FineTuner(
        oracles.point_generator() if generator else None,
        kgl.models.mlp_critic((2,), units=8),
        step_size=0.1,
        insert=insert,
        max_layers=6,
        particles=particles,
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-3), **kwargs)
    return tuner


CASES = {
    "top": {},
    "bottom": {"insert": "bottom"},
    "layer": {"insert": "hidden"},
    "fresh": {"particles": None},
    "a few particles": {"particles": 50},
    "no generator": {"generator": False},
}


@pytest.mark.parametrize("case", CASES)
def test_contract(case, tmp_path):
    xla = {"jit_compile": case == "top"}
    contract.check_trainer(lambda **kwargs: make(**CASES[case], **xla, **kwargs), tmp_path)


@pytest.mark.parametrize("case", ["top", "fresh"])
def test_modes(case):
    contract.check_trainer_modes(lambda **kwargs: make(**CASES[case], **kwargs))


def test_stock_callbacks(tmp_path):
    contract.check_stock_callbacks(make, tmp_path)


@pytest.mark.parametrize("particles", ["auto", None])
def test_resuming_in_the_middle_of_an_outer_iteration(particles, tmp_path):
    data = tf.data.Dataset.from_tensor_slices(oracles.points(28)).batch(4)  # seven batches
    callbacks = [kgl.callbacks.CriticInnerLoop(5), kgl.callbacks.GradientPenalty(10.0)]
    straight, stopped = make(particles), make(particles)
    straight.fit(data, epochs=3, callbacks=callbacks, verbose=0)
    stopped.fit(data, epochs=1, callbacks=callbacks, verbose=0)
    stopped.save(tmp_path / "tuner.keras")
    resumed = keras.saving.load_model(tmp_path / "tuner.keras")
    resumed.fit(data, epochs=3, initial_epoch=1, callbacks=callbacks, verbose=0)
    assert resumed.stack.depth == straight.stack.depth == 21 // 5
    for a, b in zip(oracles.weights_of(resumed), oracles.weights_of(straight), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("particles", ["auto", None, 37])
def test_algorithm_3_closed_form(particles):
    """Functional gradient descent with the exact critic: z_T − c = (1 − η)^T (z_0 − c)."""
    center = np.array([0.3, -0.2])
    tuner = oracles.quadratic_tuner(center, particles=particles)
    history = tuner.fit(oracles.points(32), batch_size=16, epochs=30, verbose=0).history
    z = tuner.latent.sample(100, seed=0)
    for depth in (0, 1, 7, 30):
        expected = center + 0.9**depth * (z - center)
        np.testing.assert_allclose(tuner(z, layers=depth), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tuner.predict(z, verbose=0), expected, rtol=0, atol=1e-5)
    # ‖∇_φ L‖² = E‖z − c‖² shrinks by (1 − η)² a layer, exactly so for the same particles
    flow = np.array(history["flow_norm"])
    if particles is not None:
        np.testing.assert_allclose(flow[1:] / flow[:-1], 0.81, rtol=1e-3)
        start = tuner.carried.positions.numpy()  # after 30 layers
        np.testing.assert_allclose(
            flow[-1] * 0.81, np.mean(np.sum((start - center) ** 2, axis=1)), rtol=1e-3
        )
    else:
        assert flow[-1] < 0.05 * flow[0]
        # E‖z − c‖² = 2 + ‖c‖² at the start, from 16 samples: a spread of about 2/sqrt(16)
        assert flow[0] == pytest.approx(2.13, abs=2.0)
    assert history["layers"] == list(range(1, 31))


def test_steps_per_layer():
    center = np.array([0.3, -0.2])
    tuner = oracles.quadratic_tuner(center, steps_per_layer=4)
    tuner.fit(oracles.points(16), batch_size=16, epochs=3, verbose=0)
    z = tuner.latent.sample(50, seed=0)
    np.testing.assert_allclose(
        tuner(z), center + (1 - 0.1 / 4) ** 12 * (z - center), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(tuner.sampler()(z), tuner(z), atol=1e-6)


def test_sampler(tmp_path):
    tuner = make()
    tuner.fit(oracles.points(), epochs=3, verbose=0)
    sampler = tuner.sampler()
    z = tuner.latent.sample(50, seed=0)
    expected = tuner.predict(z, verbose=0)
    np.testing.assert_allclose(sampler.predict(z, verbose=0), expected, atol=1e-6)
    for k in range(4):
        np.testing.assert_allclose(sampler(z, layers=k), tuner(z, layers=k), atol=1e-6)
    assert sampler.trainable_variables == []
    assert sampler.stack.depth == sampler.stack.max_layers == 3
    assert repr(sampler.latent) == repr(tuner.latent)
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded.predict(z, verbose=0), sampler.predict(z, verbose=0))
    sampler.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(z), expected, atol=1e-5)
    # it is finished: training on does not change it
    tuner.fit(oracles.points(), epochs=1, verbose=0)
    np.testing.assert_allclose(sampler(z), loaded(z), atol=0)
    assert not np.allclose(tuner(z), sampler(z))


def test_training_stops_at_max_layers(caplog):
    tuner = make()
    with caplog.at_level(logging.WARNING):
        history = tuner.fit(oracles.points(), epochs=6, verbose=0)
        assert "max_layers" not in caplog.text  # the last epoch fills them: nothing is missing
    assert history.history["layers"][-1] == 6
    tuner = make()
    with caplog.at_level(logging.WARNING):
        history = tuner.fit(oracles.points(), epochs=20, verbose=0)
    assert len(history.epoch) == 6
    assert "All max_layers=6 layers are stacked: training stopped in epoch 6 of 20" in caplog.text
    with pytest.raises(ValueError, match="All max_layers=6 layers are stacked. Expected room"):
        tuner.fit(oracles.points(), verbose=0)


def test_a_rollback_begins_the_averages_anew():
    """The averages of the critic that was dropped are not stacked in the place of the other's."""
    tuner = kgl.FineTuner(None, oracles.smooth_critic((2,)), 0.1, max_layers=6)
    sgd = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.999)
    tuner.compile(critic_optimizer=sgd)
    fit = {"batch_size": 16, "verbose": 0}
    tuner.fit(oracles.points(64), epochs=4, **fit)
    tuner.rollback(1)
    kept = oracles.weights_of(tuner.critic)
    averages = [v.numpy() for v in sgd.variables if "average" in v.name]
    for a, b in zip(averages, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    tuner.fit(oracles.points(64), epochs=1, **fit)
    for a, b in zip(oracles.weights_of(tuner.critic), kept, strict=True):
        np.testing.assert_allclose(a, b, atol=5e-3)  # 4 updates, of which 0.4% count


def test_a_full_tuner_hands_its_layers_to_a_larger_one(tmp_path):
    small = make()
    small.fit(oracles.points(), epochs=6, verbose=0)
    small.save_weights(tmp_path / "small.weights.h5")
    large = kgl.FineTuner(
        oracles.point_generator(), kgl.models.mlp_critic((2,), units=8), 0.1, max_layers=9
    )
    large.compile(critic_optimizer=keras.optimizers.Adam(1e-3))
    large.load_weights(tmp_path / "small.weights.h5")
    z = small.latent.sample(9, seed=0)
    np.testing.assert_allclose(large(z), small(z), atol=1e-6)
    large.fit(oracles.points(), epochs=1, verbose=0)
    assert large.stack.depth == 7


def test_length_of_the_data_unknown():
    data = tf.data.Dataset.from_tensor_slices(oracles.points()).batch(16).filter(lambda x: True)
    with pytest.raises(ValueError, match="the length of this data is not known. Pass `steps_per"):
        make().fit(data, verbose=0)
    tuner = make()
    tuner.fit(data, callbacks=[kgl.callbacks.CriticInnerLoop(2)], verbose=0)
    assert tuner.stack.depth == 2
    with pytest.raises(ValueError, match="the length of this data is not known"):
        make().train_on_batch(oracles.points(8))


def test_learning_rate_callbacks_find_the_critics_optimizer():
    tuner = make()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.5 * lr)
    tuner.fit(oracles.points(), epochs=2, callbacks=[schedule], verbose=0)
    assert float(tuner.critic_optimizer.learning_rate) == pytest.approx(0.25e-3)


def test_bad_arguments():
    generator, critic = oracles.point_generator(), oracles.smooth_critic((2,))
    for step_size in (0, -0.1, float("nan"), float("inf"), "big"):
        with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
            kgl.FineTuner(generator, critic, step_size)
    with pytest.raises(ValueError, match="'top', 'bottom' or the name of a layer.*hidden, norm, o"):
        kgl.FineTuner(generator, critic, 0.1, insert="middle")
    with pytest.raises(ValueError, match=r"`critic` does not take samples of shape \(2,\)"):
        kgl.FineTuner(generator, oracles.smooth_critic((3,)), 0.1)
    with pytest.raises(ValueError, match="one score a sample"):
        kgl.FineTuner(generator, keras.Sequential([keras.layers.Dense(2)]), 0.1)
    with pytest.raises(ValueError, match="`particles` must be an integer of at least 1"):
        kgl.FineTuner(generator, critic, 0.1, particles=0)
    with pytest.raises(ValueError, match="`refresh` must be a fraction from 0 to 1"):
        kgl.FineTuner(generator, critic, 0.1, refresh=1.5)
    with pytest.raises(TypeError, match="`critic` must be a Keras model. Received: critic=None"):
        kgl.FineTuner(generator, None, 0.1)
    with pytest.raises(TypeError, match="`generator` must be a Keras model or None. Received"):
        kgl.FineTuner("generator", critic, 0.1)
    with pytest.raises(TypeError, match="`latent` must be a distribution of kgl.latents. Received"):
        kgl.FineTuner(generator, critic, 0.1, latent="gaussian")
    with pytest.raises(ValueError, match="`max_layers` must be an integer of at least 1"):
        kgl.FineTuner(generator, critic, 0.1, max_layers=0)


def test_data_outside_the_output_range():
    for kwargs in ({}, {"insert": "bottom"}, {"generator": False}):
        tuner = make(**kwargs)
        with pytest.warns(UserWarning, match=r"only gives values in \[-1, 1\]") as caught:
            tuner.fit(3 * oracles.points(), verbose=0)
        [warning] = [w for w in caught if "only gives" in str(w.message)]
        assert warning.filename == __file__  # at the user's line, not inside the package


def test_a_layer_that_is_not_finite_is_not_stacked(tmp_path):
    bad = np.concatenate([oracles.points(48), np.full((16, 2), np.nan, "float32")])
    for particles in ("auto", None):
        tuner = make(particles)
        data = tf.data.Dataset.from_tensor_slices(bad).batch(16)
        with pytest.raises(FloatingPointError, match="not finite.*was not stacked, 0 layers rem"):
            tuner.fit(data, callbacks=[keras.callbacks.TerminateOnNaN()], verbose=0)
        assert tuner.stack.depth == 0
        z = tuner.latent.sample(5, seed=0)
        assert np.isfinite(tuner(z)).all()
        # it can still be saved, loaded and trained on better data
        tuner.save(tmp_path / "tuner.keras")
        loaded = keras.saving.load_model(tmp_path / "tuner.keras")
        loaded.critic.set_weights(make().critic.get_weights())
        loaded.compile(critic_optimizer="sgd")
        loaded.fit(oracles.points(), verbose=0)
        assert np.isfinite(loaded(z)).all()
        assert loaded.stack.depth == 1


def test_fixed_settings_cannot_be_set():
    tuner = make()
    assert (tuner.step_size, tuner.max_layers, tuner.steps_per_layer) == (0.1, 6, 1)
    for name in ("max_layers", "steps_per_layer"):
        with pytest.raises(AttributeError):
            setattr(tuner, name, 2)
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        tuner.step_size = -2
    assert tuner.step_size == 0.1


@pytest.mark.parametrize("steps", [3, 9])
def test_a_layer_an_epoch_whatever_the_length_of_the_epoch(steps):
    """Shorter or longer than a pass of four batches."""
    tuner = make()
    history = tuner.fit(
        oracles.points(), batch_size=16, steps_per_epoch=steps, epochs=4, verbose=0
    ).history
    assert history["layers"] == [1, 2, 3, 4]
    assert int(tuner.critic_optimizer.iterations) == 4 * steps


def test_stopping_within_the_last_epoch_is_said(caplog):
    tuner = make()
    with caplog.at_level(logging.WARNING):
        tuner.fit(
            oracles.points(),
            batch_size=4,
            callbacks=[kgl.callbacks.CriticInnerLoop(2)],
            verbose=0,
        )
    assert int(tuner.critic_optimizer.iterations) == 12  # of 16
    assert "training stopped in epoch 1 of 1" in caplog.text


@pytest.mark.parametrize("particles", [None, "auto", 1300])
def test_flow_norm_of_a_linear_critic(particles):
    """‖∇f‖² is ‖a‖² wherever the samples are; 1,300 particles are moved in several chunks."""
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear([3.0, -4.0])])
    tuner = kgl.FineTuner(
        None, critic, 0.1, output_activation=None, particles=particles, max_layers=3
    )
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0))
    before = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if particles is not None:
                before.append(tuner.carried.positions.numpy())

    history = tuner.fit(
        oracles.points(32), batch_size=16, epochs=2, callbacks=[Watch()], verbose=0
    ).history
    np.testing.assert_allclose(history["flow_norm"], 25.0, rtol=1e-4)
    if particles is not None:
        # the first batch's positions, moved twice: every row by 2 η a
        moves = before[-1] - before[0]
        np.testing.assert_allclose(moves, np.tile([0.6, -0.8], (len(moves), 1)), atol=1e-5)
