"""The samples that a FineTuner carries through its flow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles
from tests.trainers.test_fine_tuner import make


def test_particles_are_the_flow_of_their_latents():
    """Carried along, they stand where a replay through the history takes them."""
    tuner = make()
    positions = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            positions.append(tuner.carried.positions.numpy())

    tuner.fit(oracles.points(), batch_size=16, epochs=4, callbacks=[Watch()], verbose=0)
    assert positions[0].shape == (64, 2)  # T0 × b
    first = positions[0]
    for k in range(1, 4):
        # replay the layers after the first, by the stack itself
        moved = tuner.stack.move(
            tf.constant(first), [tf.gather(h.value, k) for h in tuner.stack._history]
        )
        np.testing.assert_allclose(positions[k], moved, atol=1e-6)
        first = positions[k]


def test_no_particle_is_used_twice_in_an_outer_iteration():
    tuner = make(run_eagerly=True)
    seen = []

    class Watch(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            seen.append(np.asarray(fake))

    tuner.fit(oracles.points(), batch_size=16, epochs=2, callbacks=[Watch()], verbose=0)
    for epoch in (seen[:4], seen[4:]):
        assert len(np.unique(np.concatenate(epoch), axis=0)) == 64


def test_fresh_latents_differ_at_every_step():
    tuner = make(particles=None, run_eagerly=True)
    seen = []

    class Watch(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            seen.append(np.asarray(fake))

    history = tuner.fit(oracles.points(), batch_size=16, epochs=3, callbacks=[Watch()], verbose=0)
    assert len(np.unique(np.concatenate(seen), axis=0)) == 192
    assert history.history["replays"] == [0, 1, 2]  # layers replayed at each update
    assert "replays" not in make().fit(oracles.points(), verbose=0).history


def test_refresh_redraws_a_fraction():
    center = np.array([0.3, -0.2])
    tuner = oracles.quadratic_tuner(center, refresh=0.25, particles=40)
    kept = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(tuner.carried.positions.numpy())

    tuner.fit(oracles.points(32), batch_size=16, epochs=5, callbacks=[Watch()], verbose=0)
    for before, after, k in zip(kept[:-1], kept[1:], range(1, 5)):
        moved = center + 0.9 * (before - center)
        same = np.isclose(after, moved, atol=1e-5).all(axis=1)
        expected = np.ones(40, bool)
        expected[(10 * k + np.arange(10)) % 40] = False  # a tenth, ten further each time
        np.testing.assert_array_equal(same, expected)
    # the redrawn have gone through all the layers: they are as near as the others
    spread = np.sum((kept[-1] - center) ** 2, axis=1)
    assert spread.mean() < 3 * 0.9**10


def test_another_inner_loop_makes_other_particles():
    tuner, data = make(), oracles.points()
    tuner.fit(data, batch_size=16, verbose=0)
    assert tuner.carried.count == 64
    tuner.fit(
        data, batch_size=16, callbacks=[kgl.callbacks.CriticInnerLoop(2)], verbose=0, epochs=1
    )
    assert tuner.carried.count == 32
    assert tuner.stack.depth == 3


def test_particles_follow_weights_that_were_restored():
    """EarlyStopping goes back to an earlier depth; the particles go back with it."""
    center = np.array([0.3, -0.2])
    tuner = oracles.quadratic_tuner(center)
    stopping = keras.callbacks.EarlyStopping(
        "layers", mode="min", patience=3, restore_best_weights=True
    )
    tuner.fit(oracles.points(32), batch_size=16, epochs=9, callbacks=[stopping], verbose=0)
    assert tuner.stack.depth == 1
    history = tuner.fit(oracles.points(32), batch_size=16, verbose=0).history
    assert history["layers"] == [2]
    # E‖z − c‖² after one layer is 0.81 × 2.13, from 32 particles; after five it would be 0.7
    assert history["flow_norm"][0] > 1.0


@pytest.mark.parametrize(("dtype", "epsilon"), [("bfloat16", 2**-9), ("float16", 2**-12)])
def test_half_precision_rounds_each_move(dtype, epsilon, tmp_path):
    """Positions of size 1 at most, rounded when drawn and at each of four layers."""
    center = np.array([0.3, -0.2])
    whole, half = (
        oracles.quadratic_tuner(center, particles=64, particle_dtype=d) for d in ("float32", dtype)
    )
    for tuner in (whole, half):
        keras.utils.set_random_seed(1)
        tuner.seed_generator.state.assign([1, 0])
        tuner.fit(oracles.points(64), batch_size=16, epochs=4, verbose=0)
    kept = half.carried.positions
    assert kept.dtype == dtype
    apart = np.abs(kept.numpy().astype("float32") - whole.carried.positions.numpy())
    size = np.abs(whole.carried.positions.numpy()).max() / 0.9**4 + 1
    assert 0 < apart.max() < 5 * epsilon * size
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert loaded.particle_dtype == dtype
    loaded.prepare(16)
    np.testing.assert_array_equal(loaded.carried.positions.numpy(), kept.numpy())


def test_only_floats():
    with pytest.raises(ValueError, match="Received: particle_dtype='int8'"):
        oracles.quadratic_tuner([0.0, 0.0], particle_dtype="int8")


def test_no_more_than_fit_into_a_bound(monkeypatch):
    """By default as many as an outer iteration uses, in whole batches of what there is room for."""
    from keras_gradlayer.trainers import layer_trainer

    for most, count in ((2**30, 32), (2 * 4 * 20, 16), (1, 16)):  # bytes of points in the plane
        monkeypatch.setattr(layer_trainer, "_MOST_BYTES", most)
        tuner = oracles.quadratic_tuner(np.zeros(2))
        tuner.fit(oracles.points(32), batch_size=16, verbose=0)
        assert tuner.carried.count == count
