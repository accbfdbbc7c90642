"""The dual of a logistic critic against its primal, which is solved another way."""

import numpy as np
import pytest
import tensorflow as tf

from keras_gradlayer.trainers._dual import solve


class Problem:
    """A random one: N samples with P features, in float64."""

    def __init__(self, n, p, decay, radius, scale, seed=0):
        rng = np.random.default_rng(seed)
        self.signs = np.where(np.arange(n) < n // 2, 1.0, -1.0)
        self.features = scale * rng.normal(size=(n, p)) + 0.5 * self.signs[:, None]
        self.w, self.scores = 0.3 * rng.normal(size=p), scale * rng.normal(size=n)
        self.decay, self.radius = decay, radius

    def dual(self, steps=100):
        w, gram = self.w, self.features @ self.features.T
        radius = tf.constant(self.radius, "float64")
        return solve(
            gram, self.signs, self.decay, steps, self.features @ w, self.scores, w @ w, radius
        )

    def step(self, solution):
        """s = (Σ λ y a − C w)/(C + λ_T)."""
        combined = self.features.T @ (self.signs * solution.weights.numpy())
        return (combined - self.decay * self.w) / solution.stiffness.numpy()

    def primal(self, s, multiplier=0.0):
        margins = self.signs * (self.scores + self.features @ s)
        decay = self.decay / 2 * np.sum((self.w + s) ** 2)
        return decay + np.mean(np.logaddexp(0, -margins)) + multiplier / 2 * s @ s

    def minimise(self, multiplier, s):
        """Newton on the primal itself, in P dimensions, from s."""
        a = self.features * self.signs[:, None]
        for _ in range(200):
            q = 1 / (1 + np.exp(self.signs * self.scores + a @ s))
            gradient = self.decay * (self.w + s) + multiplier * s - a.T @ q / len(a)
            hessian = a.T @ ((q * (1 - q) / len(a))[:, None] * a)
            hessian += (self.decay + multiplier) * np.eye(len(s))
            d, size = -np.linalg.solve(hessian, gradient), 1.0
            while size > 1e-9 and self.primal(s + size * d, multiplier) > self.primal(
                s, multiplier
            ):
                size /= 2
            s = s + size * d
            if np.abs(d).max() < 1e-12:
                break
        return s

    def solution(self):
        """The primal's minimum within the trust region, by bisection over its multiplier."""
        s = self.minimise(0.0, np.zeros_like(self.w))
        if s @ s / 2 <= self.radius:
            return s
        low, high = 0.0, 1.0
        while (s := self.minimise(high, s)) @ s / 2 > self.radius:
            high *= 2
        for _ in range(50):  # to 15 digits
            middle = (low + high) / 2
            s = self.minimise(middle, s)
            low, high = (middle, high) if s @ s / 2 > self.radius else (low, middle)
        return s


PROBLEMS = [  # (samples, features, C, Δ, scale)
    (20, 5, 0.1, np.inf, 1.0),
    (20, 50, 0.01, np.inf, 1.0),
    (128, 30, 1e-6, np.inf, 3.0),  # hardly any decay: large margins
    (30, 5, 1e-2, 100.0, 1.0),  # a trust region that does not bind
    (40, 10, 1e-3, 0.1, 1.0),
    (40, 10, 1e-3, 1e-4, 5.0),
    (40, 100, 1e-4, 0.5, 3.0),
    (128, 300, 1e-3, 0.1, 10.0),
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_against_the_primal(problem):
    problem = Problem(*problem)
    solution, best = problem.dual(), problem.solution()
    s = problem.step(solution)
    # the gap that it reports is that of the primal itself, and closed
    assert abs(float(solution.gap)) < 1e-9
    assert float(solution.model) == pytest.approx(problem.primal(s), abs=1e-9)
    assert problem.primal(s) == pytest.approx(problem.primal(best), abs=1e-8)
    # an objective that is flat to 1e-9 leaves the step known to its root
    np.testing.assert_allclose(s, best, atol=1e-4 * np.abs(best).max())
    # within the trust region and the box
    assert s @ s / 2 <= problem.radius * (1 + 1e-9)
    # with little decay a difference of numbers a million times its size
    assert float(solution.norm) == pytest.approx(np.linalg.norm(s), rel=1e-6)
    weights = solution.weights.numpy()
    assert 0 <= weights.min() <= weights.max() <= 1 / len(weights)


def test_the_gap_is_that_of_weak_duality():
    """Stopped early, primal − dual is positive, and the minimum lies between the two."""
    problem = Problem(128, 30, 1e-6, np.inf, 3.0)
    least = problem.primal(problem.solution())
    gaps = []
    for steps in (1, 2, 4, 8):
        solution = problem.dual(steps)
        assert solution.model >= least - 1e-9
        assert solution.model - solution.gap <= least + 1e-9
        gaps.append(float(solution.gap))
    assert gaps[0] > 0.01
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled(jit_compile):
    problem = Problem(40, 10, 1e-3, 0.1, 1.0)
    compiled = tf.function(problem.dual, jit_compile=jit_compile)
    np.testing.assert_allclose(compiled().weights, problem.dual().weights, atol=1e-9)
