"""Each critic followed as far as a held-out score gets better."""

import time

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles

CENTER = np.array([0.3, -0.2])


def spread(x):
    return {"spread": abs(float(x.std(axis=0).mean()) - 0.3)}


def search(scorer, step_size=0.1, **kwargs):
    return kgl.step_rules.LineSearch(scorer, step_size, **kwargs)


def fit(tuner, *callbacks, epochs=1):
    return tuner.fit(
        oracles.points(32), batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks
    ).history


def test_as_far_as_it_helps():
    """From a spread of 1 by η = 0.4, doubled while that is better: 1 − 0.8 is 0.1 from 0.3."""
    rule = search(spread, 0.4, samples=20_000)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    logs = fit(tuner)
    assert tuner.stack.step_sizes[0] == 0.8
    z = tuner.latent.sample(20_000, seed=2)
    depths = range(tuner.stack.depth + 1)
    found = [spread(tuner(z, layers=k).numpy())["spread"] for k in depths]
    assert found == sorted(found, reverse=True)
    assert logs["layers"] == [tuner.stack.depth]
    # nothing more to gain: the critic trains on, no layer is stacked
    assert fit(tuner)["layers"] == logs["layers"]


def test_a_long_search_shows_its_progress(capfd):
    """A bar counts the trials once a second has gone by, unless `fit` is to be quiet."""

    for verbose in (0, 2):
        waits = iter([0.6, 0.6])

        def slow(x, waits=waits):
            time.sleep(next(waits, 0))
            return spread(x)

        tuner = oracles.quadratic_tuner(CENTER, step_size=search(slow, 0.1, samples=50))
        tuner.fit(oracles.points(16), batch_size=16, verbose=verbose)
        assert ("step of layer 1" in capfd.readouterr().err) == bool(verbose)


def test_a_step_of_any_size_is_found():
    """The score is best at a spread of 0.3, one step of η = 0.7, from 64 times less or more."""
    for first in (0.7 / 64, 0.7 * 64):
        rule = search(spread, first, samples=250, halvings=8)
        tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=20)
        fit(tuner)
        z = tuner.latent.sample(250, seed=2)
        assert spread(tuner(z).numpy())["spread"] < 0.02
        assert tuner.stack.depth <= 3


def test_no_halvings_at_all():
    """The first step does not help, and no other is to be tried."""
    rule = search(spread, 100.0, samples=250, halvings=0)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    assert fit(tuner)["layers"] == [0]


def test_any_finite_score_is_better_than_an_infinite_one():
    def far(x):
        return {"s": np.inf if x.std() > 0.99 else float(x.std())}

    rule = search(far, 0.1, samples=1000)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    fit(tuner)
    assert tuner.stack.depth >= 1


@pytest.mark.parametrize(
    "rule", [search(spread, 0.1, samples=250), kgl.step_rules.Backtracking(samples=250)]
)
def test_programs_are_kept_from_fit_to_fit(rule):
    """One trace, however many fits; the history is read once a layer, not at each step tried."""
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    traces, summed = [], []
    program, fingerprint = tuner.program, tuner.stack.fingerprint

    def count(step):
        def traced(*args):
            traces.append(step)
            return step(*args)

        return program(traced)

    def sum_up(first=0, before=0, last=None):
        summed.append(tuner.stack.depth if last is None else last - first)
        return fingerprint(first, before, last)

    tuner.program, tuner.stack.fingerprint = count, sum_up
    fit(tuner)
    once = len(traces)
    assert once
    for _ in range(2):
        fit(tuner)
    assert len(traces) == once
    assert sum(summed) < 6 * (tuner.stack.depth + 1) ** 2
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    fit(tuner)
    assert len(traces) > once


def test_most_of_the_scoring_is_of_a_quarter_of_the_samples():
    """Two looks at all samples for each layer at most: before, and at the step that is taken."""
    seen = []

    def counted(x):
        seen.append(len(x))
        return spread(x)

    tuner = oracles.quadratic_tuner(CENTER, step_size=search(counted, samples=2000))
    fit(tuner)
    assert seen.count(2000) <= 2 + tuner.stack.depth
    assert set(seen) == {500, 2000}


def test_the_critic_is_followed_before_it_is_trained():
    """The layers of the first critic are stacked before the first update."""
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Quadratic(CENTER)])
    rule = search(spread, 0.4, samples=2000)
    tuner = kgl.FineTuner(None, critic, rule, output_activation=None)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.5))
    fit(tuner)
    first = tuner.stack._history[0].numpy()[0]
    np.testing.assert_allclose(first, CENTER, atol=1e-6)
    assert not np.allclose(tuner.critic.get_weights()[0], CENTER)


def test_ends_with_room():
    """Where every layer helps, the room for layers bounds them."""
    rule = search(lambda x: {"s": x.std()}, samples=100, halvings=0)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=5)
    logs = fit(tuner, epochs=3)
    assert tuner.stack.depth == 5
    assert logs["layers"] == [5]


def test_the_first_critic_may_fill_the_stack(caplog):
    """Before any update: no update follows, and it is said."""
    for steps in (1, 2):
        rule = search(lambda x: {"s": x.std()}, samples=100, halvings=0)
        tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=5)
        fit(tuner, kgl.callbacks.CriticInnerLoop(steps), epochs=3)
        assert tuner.stack.depth == 5
        assert int(tuner.critic_optimizer.iterations) == 0
        assert "All max_layers=5 layers are stacked" in caplog.text


def test_higher_is_better_for_scores_known_to_be_so():
    rule = search(lambda x: {"precision": -x.std()}, samples=100)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=2)
    fit(tuner)
    assert tuner.stack.depth == 2
    rule = search(lambda x: {"precision": x.std()}, samples=100)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    fit(tuner)
    assert tuner.stack.depth == 0


def trade(x):
    """Of a spread s from 1 to 0: precision 1 − s rises as recall s falls."""
    s = float(x.std(axis=0).mean())
    return {"spread": s, "precision": 1 - s, "recall": s}


def f_score(beta):
    def weigh(s):
        p, r = s["precision"], s["recall"]
        return (1 + beta**2) * p * r / (beta**2 * p + r)

    return weigh


@pytest.mark.parametrize(("beta", "best"), [(0.5, 1 / 3), (2.0, 2 / 3)])
def test_the_user_weighs_precision_against_recall(beta, best):
    """F_β of p = 1 − s and r = s is highest at these spreads, which the layers stop at."""
    rule = search(trade, 0.1, samples=1000, monitor=f_score(beta), halvings=0)
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule, max_layers=20)
    fit(tuner)
    found = trade(tuner(tuner.latent.sample(1000, seed=2)).numpy())
    # A further layer has to gain half a percent, and F is flat at its top.
    assert found["spread"] == pytest.approx(best, abs=0.07)


def test_a_score_by_name():
    """Recall takes no layer of a critic that only draws samples together."""
    rule = search(trade, 0.1, samples=1000, monitor="recall")
    tuner = oracles.quadratic_tuner(CENTER, step_size=rule)
    assert fit(tuner)["layers"] == [0]


@keras.saving.register_keras_serializable("test")
def registered(x):
    return spread(x)


def test_a_registered_scorer_is_saved_with_the_tuner(tmp_path):
    tuner = oracles.quadratic_tuner(CENTER, step_size=search(registered, 0.4, samples=500))
    tuner.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras")
    fit(loaded)
    fit(tuner)
    np.testing.assert_array_equal(loaded.stack.step_sizes, tuner.stack.step_sizes)


def test_another_scorer_is_asked_for_again(tmp_path):
    tuner = oracles.quadratic_tuner(CENTER, step_size=search(spread, 0.4, samples=500))
    tuner.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras")
    with pytest.raises(ValueError, match="file, which holds no scorer. Expected `tuner.step_size"):
        fit(loaded)
    loaded.step_size = search(spread, 0.4, samples=500)
    assert fit(loaded)["layers"][0] > 0


def test_a_monitor_is_saved_with_a_registered_scorer():
    rule = search(registered, monitor="spread")
    assert rule.from_config(rule.get_config()).monitor == "spread"
    rule = search(registered, monitor=lambda s: 0.0)  # without it the scorer would be another rule
    assert rule.from_config(rule.get_config()).scorer is None


def test_bad_input():
    with pytest.raises(TypeError, match="`monitor` must be the name of a score, a function"):
        search(spread, monitor=3)
    tuner = oracles.quadratic_tuner(CENTER, step_size=search(spread, monitor="recall"))
    with pytest.raises(ValueError, match="`monitor` must be one of spread. Received: 'recall'"):
        fit(tuner)
    tuner.step_size = search(spread, monitor=lambda s: s["recall"])
    said = "`monitor` must give a number of the scores spread. Received: KeyError"
    with pytest.raises(ValueError, match=said):
        fit(tuner)
    with pytest.raises(TypeError, match="`scorer` must be a kgl.metrics.Scorer or a function"):
        search(3)
    with pytest.raises(ValueError, match="`halvings` must be an integer from 0 to 100"):
        search(spread, halvings=-1)
