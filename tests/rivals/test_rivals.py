"""Rivals against their formulas, and against laws that are known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.rivals.calibration import calibrate
from keras_gradlayer.rivals.metropolis_hastings import chain_ends
from keras_gradlayer.rivals.rejection_sampling import acceptance
from tests import oracles

TILT = np.array([0.6, -0.3])


def linear(a=TILT, dtype="float32"):
    return keras.Sequential([keras.layers.Input((len(a),)), oracles.Linear(a, dtype=dtype)])


@pytest.mark.parametrize(
    ("divergence", "slope"),
    [
        ("kl", lambda t: np.ones_like(t)),
        ("minimax", lambda t: 1 / (1 + np.exp(-t))),
        ("non_saturating", lambda t: 1 / (1 + np.exp(t))),
    ],
)
def test_dgflow(divergence, slope):
    """x − η ∇f′(r) + sqrt(2γη) ξ with r = exp(−d): f′ = log r, log 2r/(1+r), log(1+r)."""
    eta, gamma, steps = 0.1, 0.01, 5
    sampler = kgl.refine(
        None, linear(TILT, "float64"), eta, steps, "top", divergence, None, None, gamma
    )
    z = sampler.latent.sample(6, seed=0)
    x, seeds = np.asarray(z, "float64"), oracles.row_seeds(z)
    for step in range(steps):
        gradient = slope(x @ TILT)[:, None] * TILT
        x = x + eta * gradient + np.sqrt(2 * gamma * eta) * oracles.noise(seeds, (2,), 0, step)
    np.testing.assert_allclose(sampler(z), x, atol=1e-6)


def test_ddls_is_langevin_in_the_latent(tmp_path):
    """E(z) = ‖z‖²/2σ² − a·(Wz); the chain in NumPy, and the law it leads to, N(σ² Wᵀa, σ²)."""
    w, sigma, eta = np.array([[1.0, 0.5], [-0.5, 1.0]]), 0.8, 0.05
    dense = keras.layers.Dense(2, use_bias=False)
    generator = keras.Sequential([keras.layers.Input((2,)), dense])
    dense.set_weights([w.T])
    latent = kgl.latents.Gaussian((2,), sigma)
    sampler = kgl.rivals.ddls(generator, linear(), eta, 6, latent)
    z0 = latent.sample(5, seed=0)
    z, seeds = np.asarray(z0, "float64"), oracles.row_seeds(z0)
    for step in range(6):
        downhill = -z / sigma**2 + TILT @ w
        z = z + eta * downhill + np.sqrt(2 * eta) * oracles.noise(seeds, (2,), 0, step)
    np.testing.assert_allclose(sampler(z0), z @ w.T, atol=2e-6)  # float32, values of 1 to 3
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded(z0), sampler(z0))
    np.testing.assert_array_equal(sampler.copy()(z0), sampler(z0))

    long = kgl.rivals.ddls(generator, linear(), eta, 80, latent)
    z = long.predict(latent.sample(20000, seed=1), verbose=0) @ np.linalg.inv(w).T
    # errors of 20,000 samples: 0.006 of a mean, 1% of a variance, which steps of η raise by 4%
    np.testing.assert_allclose(z.mean(axis=0), sigma**2 * TILT @ w, atol=0.025)
    np.testing.assert_allclose(z.var(axis=0), sigma**2 / (1 - eta / 2 / sigma**2), rtol=0.04)


def test_dot_is_its_descent_and_ends_where_the_slope_is_k(tmp_path):
    """D = −½‖y − c‖²: points farther than K from c come to the circle of radius K; others stay."""
    center, k, eta = np.array([0.3, -0.2]), 0.7, 0.02
    critic = keras.Sequential(
        [keras.layers.Input((2,)), oracles.Quadratic(center, dtype="float64")]
    )
    sampler = kgl.rivals.dot(None, critic, eta, 7, "top", k, output_activation=None)
    z = sampler.latent.sample(50, seed=0)
    start = x = np.asarray(z, "float64")
    for _ in range(7):
        away = x - start
        norm = np.linalg.norm(away, axis=1, keepdims=True)
        pull = np.divide(away, norm, out=np.zeros_like(away), where=norm > 0)
        x = x - eta * (pull - (center - x) / k)
    np.testing.assert_allclose(sampler(z), x, atol=1e-6)
    sampler.save(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "sampler.keras")(z), sampler(z)
    )

    ends = kgl.rivals.dot(None, critic, eta, 400, "top", k, output_activation=None)(z)
    distance = np.linalg.norm(start - center, axis=1, keepdims=True)
    goal = np.where(distance > k, center + k * (start - center) / distance, start)
    # a point that does not move jumps to and fro by one step, at most η times its slope over K
    np.testing.assert_allclose(ends, goal, atol=2 * eta)


def test_dot_finds_the_slope():
    """Of a linear critic it is ‖a‖ for the pair that is best aligned, of 10,000 in the plane."""
    sampler = kgl.rivals.dot(None, linear(), 0.05, 10, "top", output_activation=None)
    norm = np.linalg.norm(TILT)
    assert 0.999 * norm < sampler.stack.penalty.weight <= norm * (1 + 1e-5)
    np.testing.assert_allclose(sampler.step_sizes, 10 * 0.05 / sampler.stack.penalty.weight)
    w = np.array([[2.0, 0.0], [0.0, 2.0]])
    dense = keras.layers.Dense(2, use_bias=False)
    generator = keras.Sequential([keras.layers.Input((2,)), dense])
    dense.set_weights([w])
    latent = kgl.rivals.dot(generator, linear(), 0.05, 10)
    np.testing.assert_allclose(latent.stack.penalty.weight, 2 * norm, rtol=1e-3)


def test_calibration_is_the_logistic_regression():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(2, 3, 400), rng.normal(1, 3, 300)
    fit = calibrate(real, fake)

    def loss(w):  # cross entropy of Platt's targets, with the prior odds 4 to 3
        t = np.concatenate([real, fake]) * w[0] + w[1] + np.log(4 / 3)
        target = np.repeat([401 / 402, 1 / 302], [400, 300])
        return (np.logaddexp(0, t) - target * t).sum()

    slope = oracles.finite_difference(loss, np.array(fit), eps=1e-5)
    np.testing.assert_allclose(slope, 0, atol=1e-4)  # rounding of a sum of 700, over 2e-5
    # of any scale and offset of the scores, the same log ratios; and of scores that separate
    again = calibrate(10 * real - 5, 10 * fake - 5)
    np.testing.assert_allclose(again(10 * real - 5), fit(real), atol=1e-8)
    apart = calibrate(np.linspace(1, 2, 50), np.linspace(-2, -1, 50))
    assert 0 < apart.slope < 100


def test_acceptance_is_the_formula():
    rng = np.random.default_rng(0)
    d = rng.normal(size=200)
    m = d.max()
    f = d - m - np.log(1 - np.exp(d - m - 1e-8))
    for percentile in (None, 80.0):
        gamma = 0 if percentile is None else np.sort(f)[[159, 160]] @ [0.8, 0.2]
        expected = 1 / (1 + np.exp(gamma - f))
        np.testing.assert_allclose(acceptance(d, m, percentile), expected, atol=1e-6)
    np.testing.assert_allclose(acceptance(d, m, None), np.exp(d - m), atol=1e-6)


def test_chains_are_the_algorithm():
    rng = np.random.default_rng(0)
    log_ratio, start = rng.normal(size=(60, 8)), rng.normal(1, 2, 60)
    chance = rng.random((60, 8))
    d = 1 / (1 + np.exp(-log_ratio))
    expected = []
    for i in range(60):
        at, end = 1 / (1 + np.exp(-start[i])), None
        for k in range(8):
            if chance[i, k] <= min(1, (1 / at - 1) / (1 / d[i, k] - 1)):
                at, end = d[i, k], k
        if end is None:
            at, end = d[i, 0], 0
            for k in range(1, 8):
                if chance[i, k] <= min(1, (1 / at - 1) / (1 / d[i, k] - 1)):
                    at, end = d[i, k], k
        expected.append(end)
    np.testing.assert_array_equal(chain_ends(log_ratio, start, chance), expected)


@pytest.mark.parametrize("method", ["rejection_sampling", "metropolis_hastings"])
def test_selection_gives_the_data_where_the_critic_is_right(method):
    """Samples of N(0, 1) and the scores 3 a·x + 1, calibrated to the log ratio, make N(a, 1)."""
    real = np.random.default_rng(1).normal(TILT, size=(20000, 2))
    critic = keras.Sequential([linear(3 * TILT), keras.layers.Rescaling(1.0, 1.0)])
    critic.build((None, 2))
    options = {"percentile": None} if method == "rejection_sampling" else {"steps": 25}
    select = getattr(kgl.rivals, method)
    x = select(None, critic, 4000, real, output_activation=None, seed=3, **options)
    assert x.shape == (4000, 2)
    # of 4,000 samples the mean errs by 0.016, the variance by 2.2%; the slope by 2%
    np.testing.assert_allclose(x.mean(axis=0), TILT, atol=0.07)
    np.testing.assert_allclose(np.cov(x.T), np.eye(2), atol=0.12)
    one, two, other = (
        select(None, critic, 100, real, output_activation=None, seed=seed, **options)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.isin(other, one).any()


def test_a_higher_percentile_keeps_the_better_samples():
    real = np.random.default_rng(1).normal(TILT, size=(2000, 2))
    found = [
        kgl.rivals.rejection_sampling(None, linear(), 500, real, p, output_activation=None)
        for p in (20.0, 95.0)
    ]
    assert (found[0] @ TILT).mean() + 0.1 < (found[1] @ TILT).mean()


def test_bad_arguments():
    real, critic = oracles.points(50), oracles.smooth_critic((2,))
    rivals = kgl.rivals
    for method in (rivals.ddls, rivals.dot):
        with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
            method(None, critic, 0, 3)
        with pytest.raises(ValueError, match="`steps` must be an integer of at least 1"):
            method(None, critic, 0.1, 0)
    with pytest.raises(ValueError, match=r"Expected a kgl.latents.Gaussian. Received: latent="):
        rivals.ddls(None, critic, 0.1, 3, kgl.latents.Uniform((2,)))
    with pytest.raises(ValueError, match="`lipschitz` must be a positive finite number"):
        rivals.dot(None, critic, 0.1, 3, lipschitz=-1)
    with pytest.raises(ValueError, match="must tell samples apart. Expected.*Received: a slope"):
        rivals.dot(None, linear(np.zeros(2)), 0.1, 3)
    for select in (rivals.rejection_sampling, rivals.metropolis_hastings):
        with pytest.raises(ValueError, match="`n` must be an integer of at least 1"):
            select(None, critic, 0, real)
        with pytest.raises(
            ValueError, match=r"shape of the samples, \(n, 2\). Received: \(50, 3\)"
        ):
            select(None, critic, 5, np.zeros((50, 3)))
        with pytest.raises(ValueError, match="`seed` must be an integer of at least 0"):
            select(None, critic, 5, real, seed=-1)
    with pytest.raises(ValueError, match="`percentile` must be from 0 to 100. Received"):
        rivals.rejection_sampling(None, critic, 5, real, 101)
    with pytest.raises(ValueError, match="`steps` must be an integer of at least 1"):
        rivals.metropolis_hastings(None, critic, 5, real, 0)
    with pytest.raises(ValueError, match="finite scores.*not all equal. Received: 3 of real data"):
        calibrate(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="finite scores"):
        calibrate([np.nan, 1.0], [0.0])
    z, label = keras.Input((2,)), keras.Input((1,))
    x = keras.layers.Dense(2)(keras.layers.Concatenate()([z, label]))
    judged = keras.layers.Dense(1)(keras.layers.Concatenate()([z, label]))
    models = keras.Model([z, label], x), keras.Model([z, label], judged)
    with pytest.raises(ValueError, match="without conditions. Received: models that take one"):
        rivals.rejection_sampling(*models, 5, real)
    with pytest.raises(ValueError, match="without conditions"):
        rivals.dot(*models, 0.1, 3)


def test_a_conditional_gan():
    """The flows take them: the latent's chain keeps its condition."""
    z, label = keras.Input((2,)), keras.Input((1,))
    x = keras.layers.Dense(2)(keras.layers.Concatenate()([z, label]))
    judged = keras.layers.Dense(1)(keras.layers.Concatenate()([z, label]))
    models = keras.Model([z, label], x), keras.Model([z, label], judged)
    drawn = tf.random.stateless_normal((4, 2), (0, 0))
    for sampler in (
        kgl.rivals.ddls(*models, 0.1, 3),
        kgl.rivals.dot(*models, 0.1, 3, lipschitz=1.0),
    ):
        one, two = (sampler(drawn, condition=np.full((4, 1), c)) for c in (0.0, 1.0))
        kernel = models[0].layers[-1].get_weights()[0]
        assert np.abs(two - one).max() > 0.1 * np.abs(kernel[2]).max()
