"""Scores of samples in the logs, and the depth that a run ends at."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

CENTER = np.array([0.3, -0.2])


def distance(x):
    """How far the samples are from where the quadratic flow leads: 0.9^k of what it was."""
    return {"distance": np.linalg.norm(x - CENTER, axis=1).mean()}


def spread(x):
    """How far the samples' spread is from 0.3, below which the flow goes on to lead."""
    return {"other": 0.0, "spread": abs(x.std(axis=0).mean() - 0.3)}


def fit(tuner, *callbacks, epochs=6, **kwargs):
    return tuner.fit(
        oracles.points(32), batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs
    ).history


def test_scores_by_depth_in_the_logs():
    """Every look is at the same latents, moved by the layers there are."""
    tuner = oracles.quadratic_tuner(CENTER)
    scores = kgl.callbacks.Scores(distance, samples=300, seed=4)
    logs = fit(tuner, scores)
    z = tuner.latent.sample(300, seed=4)
    expected = [distance(tuner(z, layers=k).numpy())["distance"] for k in range(7)]
    np.testing.assert_allclose(expected[1:], 0.9 * np.array(expected[:-1]), rtol=1e-5)
    np.testing.assert_allclose([h["distance"] for h in scores.history], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["distance"], expected[1:], rtol=1e-5)
    assert [h["layers"] for h in scores.history] == list(range(7))
    assert scores.best["layers"] == 6


def test_every_few_epochs():
    """The logs repeat the last scores in between, and the last epoch is looked at."""
    scores = kgl.callbacks.Scores(distance, every=3, samples=100)
    logs = fit(oracles.quadratic_tuner(CENTER), scores, epochs=7)
    assert [h["layers"] for h in scores.history] == [0, 3, 6, 7]
    by_depth = {h["layers"]: h["distance"] for h in scores.history}
    assert logs["distance"] == [by_depth[k] for k in (0, 0, 3, 3, 3, 6, 7)]


def test_stock_callbacks_see_the_scores(tmp_path):
    tuner = oracles.quadratic_tuner(CENTER)
    scores = kgl.callbacks.Scores(spread, samples=2000, monitor="spread")
    stop = keras.callbacks.EarlyStopping("spread", patience=2, mode="min")
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    logs = fit(tuner, scores, stop, log, epochs=40)
    assert len(logs["spread"]) < 20
    assert scores.best["layers"] == tuner.stack.depth - 2
    assert "spread" in (tmp_path / "log.csv").read_text().splitlines()[0]
    assert scores.history[-1]["layers"] == tuner.stack.depth


def test_restore_best_layers():
    """The samples' spread falls by 0.9 a layer from 1; it is nearest to 0.3 after 11 layers."""
    tuner = oracles.quadratic_tuner(CENTER)
    critics = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: critics.append(tuner.critic.get_weights()),
        on_epoch_begin=lambda epoch, logs: tuner.critic.set_weights([CENTER + 1e-4 * epoch]),
    )
    scores = kgl.callbacks.Scores(spread, samples=4000, monitor="spread", restore_best_layers=True)
    fit(tuner, watch, scores, epochs=25)
    z = tuner.latent.sample(4000, seed=0)
    found = [spread(tuner(z, layers=k).numpy())["spread"] for k in range(tuner.stack.depth + 1)]
    assert tuner.stack.depth == np.argmin(found)
    assert 10 <= tuner.stack.depth <= 12  # log 0.3 / log 0.9 = 11.4
    np.testing.assert_array_equal(tuner.critic.get_weights(), critics[tuner.stack.depth - 1])
    assert tuner.sampler().stack.depth == tuner.stack.depth
    depth = tuner.stack.depth
    # and the run can be gone on with from there
    logs = fit(tuner, epochs=1)
    assert logs["layers"] == [depth + 1]


def test_restore_best_layers_of_a_run_that_overfits():
    """Three points of a Gaussian to learn from, and 30 layers: the samples collapse onto them."""
    rng = np.random.default_rng(0)
    few, held_out = (0.3 * rng.normal(size=(n, 2)).astype("float32") for n in (3, 10_000))

    def score(x):
        return {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(held_out, x, 64)}

    tuner = kgl.FineTuner(
        None,
        kgl.models.mlp_critic((2,), units=64),
        step_size=0.1,
        max_layers=30,
        particles=2000,
        output_activation=None,
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5, beta_2=0.9))
    scores = kgl.callbacks.Scores(score, restore_best_layers=True)
    data = tf.data.Dataset.from_tensors(few).repeat()
    penalty = kgl.callbacks.GradientPenalty(10.0, one_sided=True)
    whole = {}
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: whole.update(sampler=tuner.sampler())
    )
    tuner.fit(data, steps_per_epoch=50, epochs=30, verbose=0, callbacks=[penalty, scores, keep])
    # of other latents, at every depth
    z = tuner.latent.sample(10_000, seed=99)
    found = [score(whole["sampler"](z, layers=k).numpy()) for k in range(31)]
    found = np.array([f["sliced_wasserstein"] for f in found])
    assert found[30] > 1.3 * found.min()  # it did overfit
    assert found[0] > 4 * found.min()
    assert abs(tuner.stack.depth - found.argmin()) <= 1


def test_scorer_of_images(tmp_path):
    """A `Scorer` gives its scores with their conditions, to the JSON file as well."""
    rng = np.random.default_rng(0)
    x = keras.Input((8, 8, 1))
    features = keras.layers.Dense(4)(keras.layers.Flatten()(x))
    judge = keras.Model(x, {"features": features, "logits": keras.layers.Dense(3)(features)})
    real = rng.uniform(-1, 1, (60, 8, 8, 1)).astype("float32")
    scorer = kgl.metrics.Scorer(judge, real, count=50)
    gan = kgl.GAN(
        kgl.models.dcgan_generator((8, 8, 1), 4, 4), kgl.models.dcgan_critic((8, 8, 1), 4)
    )
    gan.compile()
    scores = kgl.callbacks.Scores(scorer, path=tmp_path / "scores.json")
    logs = gan.fit(real, batch_size=20, epochs=2, verbose=0, callbacks=[scores]).history
    expected = scorer(gan.predict(gan.latent.sample(50, seed=0), verbose=0))
    for name, value in expected.scores.items():
        assert logs[name][-1] == pytest.approx(value, rel=1e-4, abs=1e-5)
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["conditions"] == expected.conditions
    assert [r["epoch"] for r in record["scores"]] == [0, 1, 2]
    assert scores.monitor == "frechet_distance"

    # Another classifier's scores are not put beside these.
    judge.layers[-1].kernel.assign_add(np.ones((4, 3)))
    other = kgl.callbacks.Scores(
        kgl.metrics.Scorer(judge, real, count=50), path=tmp_path / "scores.json"
    )
    with pytest.raises(ValueError, match="do not compare.*Received: classifier: "):
        gan.fit(real, batch_size=20, epochs=3, initial_epoch=2, verbose=0, callbacks=[other])
    assert json.loads((tmp_path / "scores.json").read_text()) == record
    with pytest.raises(ValueError, match="`monitor` must be one of classifier_score, .*'fid'"):
        kgl.callbacks.Scores(scorer, monitor="fid")


def test_more_epochs_by_the_same_callback():
    """The state before the first of them counts on."""
    tuner = oracles.quadratic_tuner(CENTER)
    scores = kgl.callbacks.Scores(distance, samples=100, mode="max")
    fit(tuner, scores, epochs=2)
    scores.restore_best_layers = True
    fit(tuner, scores, epochs=4, initial_epoch=2)
    assert [h["epoch"] for h in scores.history] == [0, 1, 2, 3, 4]
    assert tuner.stack.depth == 0


@pytest.mark.parametrize("scored", [True, False])
def test_a_run_that_is_gone_on_with(tmp_path, scored):
    """The scores from before an interruption count."""
    path = tmp_path / "scores.json"

    def run(stop_at=None):
        keras.utils.set_random_seed(1)
        tuner = oracles.quadratic_tuner(CENTER)

        def interrupt(epoch, logs):
            if epoch + 1 == stop_at:
                raise KeyboardInterrupt

        scores = kgl.callbacks.Scores(
            spread, samples=2000, monitor="spread", restore_best_layers=True, path=path
        )
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        stop = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
        order = [scores, stop] if scored else [stop, scores]
        fit(tuner, backup, *order, epochs=20)
        return tuner, scores

    with pytest.raises(KeyboardInterrupt):
        run(stop_at=15)
    tuner, scores = run()
    assert [h["layers"] for h in scores.history] == list(range(21))
    assert tuner.stack.depth == scores.best["layers"] < 14
    with pytest.raises(ValueError, match="`path` must not exist when a run begins"):
        run()


def test_gone_on_with_after_the_last_epoch(tmp_path):
    """A run that stopped while its last epoch was scored ends as it would have."""
    path, backup = tmp_path / "scores.json", str(tmp_path / "backup")

    def run(scorer):
        keras.utils.set_random_seed(1)
        tuner = oracles.quadratic_tuner(CENTER)
        scores = kgl.callbacks.Scores(scorer, samples=500, restore_best_layers=True, path=path)
        fit(tuner, keras.callbacks.BackupAndRestore(backup), scores, epochs=14)
        return tuner, scores

    looks = []

    def interrupted(x):
        looks.append(1)
        if len(looks) == 15:
            raise KeyboardInterrupt
        return {"spread": spread(x)["spread"]}

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    tuner, scores = run(lambda x: {"spread": spread(x)["spread"]})
    assert [h["layers"] for h in scores.history] == list(range(15))
    assert scores.monitor == "spread"
    assert tuner.stack.depth == scores.best["layers"] < 14


def test_gone_on_with_after_a_rollback():
    """Layers that take the place of dropped ones are scored as what they are."""
    tuner = oracles.quadratic_tuner(CENTER)
    scores = kgl.callbacks.Scores(spread, samples=1000, monitor="spread", restore_best_layers=True)
    fit(tuner, scores, epochs=14)
    depth = tuner.stack.depth
    tuner.critic.set_weights([CENTER + 1.0])
    fit(tuner, scores, epochs=15, initial_epoch=14)
    z = tuner.latent.sample(1000, seed=0)
    found = spread(tuner.stack(z, layers=depth).numpy())["spread"]
    begun = [h for h in scores.history if h["epoch"] == 14]
    assert [(h["layers"], h["spread"]) for h in begun] == [(depth, pytest.approx(found, rel=1e-4))]
    last = scores.history[-1]
    assert last["layers"] == depth + 1
    dropped = CENTER + 0.9 * (z - CENTER)  # what the same depth was before
    assert last["spread"] != pytest.approx(spread(dropped.numpy())["spread"], rel=1e-3)


def test_the_inception_score_of_papers_is_better_when_higher():
    """Not that of a Scorer alone: what a function gives by that name is."""
    for name in ("classifier_score", "classifier_score_splits"):
        tuner = oracles.quadratic_tuner(CENTER)
        scores = kgl.callbacks.Scores(
            lambda x, name=name: {name: -distance(x)["distance"]}, samples=100
        )
        fit(tuner, scores, epochs=3)
        assert scores.best["layers"] == 3


def test_gone_on_with_after_layers_were_dropped(tmp_path):
    """What no longer stands in the stack is not what the run ends at."""
    tuner = oracles.quadratic_tuner(CENTER)
    path = tmp_path / "scores.json"
    fit(tuner, kgl.callbacks.Scores(distance, samples=100, path=path), epochs=4)
    tuner.rollback(1)
    tuner.critic.set_weights([CENTER + 20.0])  # leads away
    scores = kgl.callbacks.Scores(distance, samples=100, path=path, restore_best_layers=True)
    fit(tuner, scores, epochs=6, initial_epoch=4)
    assert [(h["epoch"], h["layers"]) for h in scores.history] == [
        *((0, 0), (1, 1), (4, 1), (5, 2), (6, 3))
    ]
    assert tuner.stack.depth == scores.best["layers"] == 1


def test_another_model_has_its_own_first_score(tmp_path):
    """A file that a run left which ended in its first epoch holds that run's model's."""
    path = tmp_path / "scores.json"
    scores = kgl.callbacks.Scores(distance, samples=100, path=path)
    scores.set_model(oracles.quadratic_tuner(CENTER))
    scores.on_train_begin()
    scores.on_epoch_begin(0)
    tuner = oracles.quadratic_tuner(CENTER, latent=kgl.latents.Gaussian((2,), stddev=5.0))
    other = kgl.callbacks.Scores(distance, samples=100, path=path)
    fit(tuner, other, epochs=1)
    first = distance(tuner(tuner.latent.sample(100, seed=0), layers=0).numpy())["distance"]
    assert other.history[0] == {"epoch": 0, "layers": 0, "distance": pytest.approx(first)}
    assert scores.history[0]["distance"] < first / 2


def test_bad_input(tmp_path):
    with pytest.raises(TypeError, match="`scorer` must be a kgl.metrics.Scorer or a function"):
        kgl.callbacks.Scores(3)
    with pytest.raises(ValueError, match='`mode` must be "min" or "max"'):
        kgl.callbacks.Scores(distance, mode="best")
    with pytest.raises(ValueError, match="`every` must be an integer"):
        kgl.callbacks.Scores(distance, every=0)
    tuner = oracles.quadratic_tuner(CENTER)
    with pytest.raises(ValueError, match="`monitor` must be one of distance. Received: 'fid'"):
        fit(tuner, kgl.callbacks.Scores(distance, samples=10, monitor="fid"))
    assert tuner.stack.depth == 0
    for scorer in (np.mean, lambda x: {}, lambda x: {"layers": 3.0}):
        with pytest.raises(ValueError, match="must give a dict of scores by name, none of them"):
            fit(tuner, kgl.callbacks.Scores(scorer, samples=10))
    for text in ('{"mine": 1}', '{"scores": [], "mine": 1}', "notes"):
        (tmp_path / "notes.json").write_text(text)
        with pytest.raises(ValueError, match="`path` must not exist, or hold scores"):
            fit(tuner, kgl.callbacks.Scores(distance, samples=10, path=tmp_path / "notes.json"))
        assert (tmp_path / "notes.json").read_text() == text
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    with pytest.raises(TypeError, match="`restore_best_layers` is for a kgl.FineTuner"):
        fit(gan, kgl.callbacks.Scores(distance, restore_best_layers=True))
    plain = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="for models with a `latent`"):
        kgl.callbacks.Scores(distance).set_model(plain)
