"""A run's own log and scores say what it came to, and what to try next."""

import re

import pytest

from keras_gradlayer.commands import advice

SETTINGS = {"layers": 4, "step_size": "auto", "classifier": "c.keras", "real": "t", "data": "d"}


def log(*depths, **columns):
    """A log of these depths by epoch, with further columns in its last row."""
    rows = [{"epoch": str(i), "layers": str(float(d))} for i, d in enumerate(depths)]
    rows[-1] |= {name: str(value) for name, value in columns.items()}
    return rows


def scored(*depths):
    return [{"layers": d, "frechet_distance": 10.0 - d} for d in (0, *depths)]


def test_the_verdict():
    before, after = {"frechet_distance": 10.09}, {"frechet_distance": 7.872}
    main = "frechet_distance"
    verdict = advice.verdict(4, before, after, main)
    assert verdict == "4 layers kept, Fréchet distance 10.1 to 7.87"
    assert advice.verdict(1, before, after, main).startswith("1 layer kept, ")
    assert advice.verdict(0, before, before, main) == "No layer kept, Fréchet distance 10.1"
    assert advice.verdict(2, {}, None, None) == "2 layers stacked, judged by the critic alone"


def test_the_epoch_of_each_layer():
    assert advice.epochs_of(log(0, 3, 3, 4), 4) == [2, 2, 2, 4]
    assert advice.epochs_of(log(0, 3, 3, 4), 2) == [2, 2]  # two were taken off
    assert advice.epochs_of([], 2) == [None, None]


@pytest.mark.parametrize(
    ("rows", "kept", "changes", "expected"),
    [
        (log(0, 0), 0, {}, "No step was accepted.*more epochs, --layers 8"),
        (log(0, 0), 0, {"critic_steps": 50}, "No step was accepted.*--critic-steps 100"),
        (log(1, 2), 0, {"step_size": "auto"}, "Every layer made.*Train the critic longer"),
        (log(1, 2), 0, {"step_size": "0.4"}, "Every layer made.*--step-size 0.1, or auto"),
        (log(1, 2, 3), 2, {"step_size": "0.4"}, "worse after layer 2 of 3.*--step-size 0.2"),
        (log(1, 2, 3), 2, {"critic_steps": 5}, "worse after layer 2 of 3.*--critic-steps 10"),
        (log(1, 2, 3, 4), 4, {}, "allowed by --layers was kept: try --layers 8"),
        (log(1, 1, 2), 2, {}, "The last epoch still added a layer"),
        (log(1, 2, 2), 2, {}, "Later critics found no further step.*--insert"),
    ],
)
def test_how_the_run_went(rows, kept, changes, expected):
    scores = scored(*range(1, int(float(rows[-1]["layers"])) + 1))
    (tip,) = advice.next_steps(SETTINGS | changes, rows, scores, kept)
    assert re.search(expected, tip), tip


@pytest.mark.parametrize(
    ("columns", "changes", "expected"),
    [
        ({"wasserstein": 4.0, "heldout_wasserstein": 1.5}, {}, "at 4 on.*at 1.5 on held-out"),
        (
            {"injectivity_margin": -0.2},
            {"steps_per_layer": 2, "step_size": "0.4"},
            "--steps-per-layer 4",
        ),
        ({}, {"real": "d"}, "name others by --real"),
    ],
)
def test_what_else_the_log_shows(columns, changes, expected):
    _, tip = advice.next_steps(SETTINGS | changes, log(1, 1, **columns), scored(1), 1)
    assert re.search(expected, tip), tip


def test_what_is_well_is_not_mentioned():
    well = {"wasserstein": 4.0, "heldout_wasserstein": 3.0, "injectivity_margin": 0.5}
    assert len(advice.next_steps(SETTINGS, log(1, 1, **well), scored(1), 1)) == 1
    nothing = {"heldout_wasserstein": "", "injectivity_margin": "nan", "wasserstein": 4.0}
    assert len(advice.next_steps(SETTINGS, log(1, 1, **nothing), scored(1), 1)) == 1
    searched = SETTINGS | {
        "step_size": "auto"
    }  # by a score, which a smaller step would not improve
    assert len(advice.next_steps(searched, log(1, 1, injectivity_margin=-1), scored(1), 1)) == 1


def test_without_scores():
    _, tip = advice.next_steps(SETTINGS | {"classifier": None, "real": None}, log(1), [], 1)
    assert "Pass --classifier" in tip
