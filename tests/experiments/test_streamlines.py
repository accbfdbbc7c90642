"""The claims of Nagarajan & Kolter on their two-parameter system."""

import numpy as np
import pytest

from keras_gradlayer.experiments import streamlines
from keras_gradlayer.experiments.streamlines import EQUILIBRIUM, WEIGHTS, System, promised_rate
from keras_gradlayer.objectives import Concave

SECOND, FOURTH = 1 / 3, 1 / 5  # moments of the uniform distribution on [-1, 1]


def jacobian(objective, weight):
    """In closed form, from the second derivatives of V at (0, 1)."""
    slope, curvature = (1.0, 0.0) if objective == "wasserstein" else (0.5, -0.25)  # of f at 0
    ww, wa = 2 * curvature * FOURTH, -2 * slope * SECOND
    return np.array([[ww, wa], [-wa - 2 * weight * ww * wa, -2 * weight * wa**2]])


def velocity(objective, weight, w, a):
    """Of the Wasserstein system, in closed form."""
    slope = (1 - a**2) * SECOND
    return slope, 2 * a * SECOND * w + 4 * weight * slope * a * SECOND


@pytest.mark.parametrize("weight", WEIGHTS)
def test_velocity_in_closed_form(weight):
    system = System("wasserstein", weight)
    for point in ((0.3, 0.5), (-1.0, 1.2), (2.0, -0.7)):
        # float32 steps of 0.1, and moments of 200 points that err by 1/200² of themselves
        expected = velocity("wasserstein", weight, *point)
        np.testing.assert_allclose(system.velocity(np.array(point)), expected, atol=1e-4)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("objective", streamlines.OBJECTIVES)
def test_eigenvalues_at_the_equilibrium(objective, weight):
    found = System(objective, weight).jacobian()
    expected = jacobian(objective, weight)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    rate = np.linalg.eigvals(expected).real.max()
    if objective == "wasserstein" and weight == 0:
        assert rate == 0  # neither in nor out: it circles
    else:
        assert rate < -0.04  # locally stable, at an exponential rate


@pytest.mark.parametrize(
    ("objective", "weight"),
    [("minimax", 0.0), *[("wasserstein", w) for w in (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)]],
)
def test_the_eigenvalues_are_within_the_theorems_bound(objective, weight):
    """Complex ones, up to η = 1, meet it exactly; real ones, from η = 1.5 on, lie below it."""
    values = np.linalg.eigvals(jacobian(objective, weight))
    rate, promised = -values.real.max(), promised_rate(objective, weight)
    assert rate >= promised - 1e-12
    if np.abs(values.imag).max() > 0:
        assert rate == pytest.approx(promised)
    else:
        assert weight > 1.5
        assert promised > 0.5 * rate  # near enough to say something


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0, 2.0])
def test_the_measured_rate_is_within_the_theorems_bound(weight):
    """Heun's steps of 0.1, in float32: 5% of the rate are allowed them."""
    path = System("wasserstein", weight).trajectory([0.0, 0.98], 20)
    values, vectors = np.linalg.eig(jacobian("wasserstein", weight))
    slowest = values.real.argmax()
    size = np.abs(np.linalg.solve(vectors, (path - EQUILIBRIUM).T))[slowest]
    kept = size > 0.03 * size[0]
    measured = -np.polyfit(0.1 * np.flatnonzero(kept), np.log(size[kept]), 1)[0]
    assert measured > 0.95 * promised_rate("wasserstein", weight)


@pytest.mark.parametrize("f", ["log_sigmoid", "linear"])
def test_alternative_updates_have_the_same_jacobian(f):
    """V, V' and their mixtures, at the equilibrium; elsewhere they differ for a curved f."""
    systems = [System(Concave(f, share), 0.0) for share in (0.0, 0.3, 1.0)]
    expected = jacobian("wasserstein" if f == "linear" else "minimax", 0.0)
    for system in systems:
        np.testing.assert_allclose(system.jacobian(), expected, atol=2e-3)
    speeds = [system.velocity(np.array([1.0, 0.5]))[1] for system in systems]
    assert np.ptp(speeds) == pytest.approx(0, abs=1e-5) if f == "linear" else np.ptp(speeds) > 0.01


def test_the_limit_of_the_weight():
    """Theorem 3.2: I + 2η J_DD ≥ 0 up to η = 1/(2 λ_max(−J_DD)); J_GD then turns."""
    plain = System("minimax", 0.0).jacobian()
    limit = 1 / (2 * -plain[0, 0])
    assert limit == pytest.approx(5.0, rel=0.02)  # J_DD = 2 f''(0) E x⁴ = −1/10
    for share in (0.5, 0.9, 1.0, 1.1):
        found = System("minimax", share * limit).jacobian()
        np.testing.assert_allclose(found[1, 0], -plain[0, 1] * (1 - share), atol=6e-3)
        if share < 1:
            assert np.linalg.eigvals(found).real.max() < 0


def test_the_wasserstein_gan_circles():
    """The quantity that the flow conserves, w² + a²/2 − log a, stays what it was."""
    path = System("wasserstein", 0.0).trajectory([0.0, 0.6], 40)
    w, a = path.T
    conserved = w**2 + a**2 / 2 - np.log(a)
    np.testing.assert_allclose(conserved, conserved[0], rtol=0.01)
    distance = np.linalg.norm(path - EQUILIBRIUM, axis=1)
    late = distance[len(distance) // 2 :]
    assert late.max() > 0.9 * distance.max()
    # around it, more than twice
    turns = np.unwrap(np.angle((path - EQUILIBRIUM) @ [1, 1j]))
    assert abs(turns[-1] - turns[0]) > 4 * np.pi


@pytest.mark.parametrize("weight", WEIGHTS[1:])
def test_the_regularised_one_comes_in_at_the_rate_of_its_eigenvalues(weight):
    system = System("wasserstein", weight)
    assert np.linalg.norm(system.trajectory([-1.0, 0.4], 60)[-1] - EQUILIBRIUM) < 0.05
    # near the equilibrium each coordinate in the basis of eigenvectors falls exponentially
    values, vectors = np.linalg.eig(jacobian("wasserstein", weight))
    path = system.trajectory([0.0, 0.98], 15)
    size = np.abs(np.linalg.solve(vectors, (path - EQUILIBRIUM).T))[0]
    kept = size > 0.03 * size[0]  # above the rounding of float32
    measured = np.polyfit(0.1 * np.flatnonzero(kept), np.log(size[kept]), 1)[0]
    np.testing.assert_allclose(measured, values.real.max(), rtol=0.05)


def test_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(streamlines, "WEIGHTS", (0.0, 0.5))
    streamlines.run(tmp_path / "flows.png")
    assert (tmp_path / "flows.png").read_bytes().startswith(b"\x89PNG")
