"""Noise: which numbers, of which law, and where the dynamics lead."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import _random
from tests import contract, oracles


def make(input_shape=(3,)):
    keras.utils.set_random_seed(0)
    return kgl.layers.GradientLayer(oracles.smooth_critic(input_shape), 0.5, temperature=0.3)


def test_contract():
    """The noise is the same in every batch, program and model."""
    # log and cos of float32 differ by some units in the last place between compilers
    contract.check_layer(lambda: make((4, 3)), (4, 3), tolerance=1e-5)


def test_saving(tmp_path):
    contract.check_layer_saving(make, (3,), tmp_path)


@pytest.mark.parametrize("seeds", [None, [5, 3, 2**40, -1]])
def test_one_step_in_numpy(seeds):
    """x + η ∇f + sqrt(2ηγ) ξ."""
    a = np.random.default_rng(0).normal(size=(2, 3))
    x = np.random.default_rng(1).normal(size=(4, 2, 3)).astype("float32")
    layer = kgl.layers.GradientLayer(oracles.Linear(a, dtype="float64"), 0.25, 0.3, dtype="float64")
    found = layer(x) if seeds is None else layer(x, seeds=tf.constant(seeds, "int64"))
    used = oracles.row_seeds(x) if seeds is None else [s % 2**64 for s in seeds]
    expected = x + 0.25 * a + np.sqrt(2 * 0.25 * 0.3) * oracles.noise(used, (2, 3), 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("jit", [False, True])
def test_layers_and_steps_have_noise_of_their_own(jit):
    a = np.array([0.5, -0.25])
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear(a, dtype="float64")])
    arguments = {"steps_per_layer": 3, "temperature": 0.3, "dtype": "float64"}
    stack = kgl.layers.GradientLayerStack(critic, 0.5, 2, **arguments)
    stack.append()
    stack.append(step_size=0.25)
    x = oracles.points(4)
    run = tf.function(stack.__call__, jit_compile=jit, autograph=False)
    expected, seeds = x.astype("float64"), oracles.row_seeds(x)
    for layer, eta in enumerate((0.5, 0.25)):
        for step in range(3):
            drawn = oracles.noise(seeds, (2,), layer, step)
            expected += eta / 3 * a + np.sqrt(2 * eta / 3 * 0.3) * drawn
        np.testing.assert_allclose(run(x, layers=layer + 1), expected, atol=1e-12)
    by_row = stack(x, layers=tf.constant([2, 0, 2, 2]))
    np.testing.assert_allclose(by_row, np.where([[1], [0], [1], [1]], expected, x), atol=1e-12)
    # with seeds given, entries that differ by rounding get the same noise
    near = stack(x + np.float32(1e-6), seeds=tf.constant(seeds, "uint64"))
    np.testing.assert_allclose(near, expected, atol=1e-5)


def test_noise_is_normal_and_independent():
    """Of 1,000 rows of seeds in a row, and of 4 steps: every moment within 5 standard errors."""
    like = tf.zeros((1000, 64))
    seeds = tf.range(1000, dtype="int64")
    steps = [_random.row_normal(_random.later_seeds(seeds, k), like).numpy() for k in range(4)]
    x = np.stack(steps).astype("float64")
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 5 * np.sqrt(variance / x.size)
    bound = 5 / np.sqrt(x.size / 4)
    for a, b in (
        (x[:-1], x[1:]),  # steps
        (x[:, :-1], x[:, 1:]),  # rows
        (x[:, :, :-1], x[:, :, 1:]),  # entries
        (x[0, :-1], x[1, 1:]),  # rows and steps
    ):
        assert abs((a * b).mean()) < bound
        assert abs((a**2 * b**2).mean() - 1) < 10 * bound
    spread = np.sort(x.reshape(-1)).searchsorted([-2.0, -1.0, 0.0, 1.0, 2.0]) / x.size
    # of the normal distribution function; the error of a share is at most 0.5/√n
    expected = [0.02275, 0.158655, 0.5, 0.841345, 0.97725]
    np.testing.assert_allclose(spread, expected, atol=2.5 / np.sqrt(x.size))


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_langevin_reaches_the_gaussian(temperature):
    """f = log N(c, s²): steps of η lead to the mean c and the variance γ s² / (1 − η/2s²)."""
    center, spread, eta = np.array([0.5, -1.0]), 0.5, 0.025
    log_density = keras.Sequential(
        [keras.layers.Input((2,)), oracles.Quadratic(center, 1 / spread**2)]
    )
    sampler = kgl.refine(
        None, log_density, eta, steps=80, output_activation=None, temperature=temperature
    )
    x = sampler.predict(sampler.latent.sample(20000, seed=0), verbose=0)
    # 0.9^80 = 2e-4 of the start is left; 20,000 samples err by 0.0035 in a mean, 1% in a variance
    np.testing.assert_allclose(x.mean(axis=0), center, atol=4 * 0.0035)
    variance = temperature * spread**2 / (1 - eta / (2 * spread**2))
    np.testing.assert_allclose(np.cov(x.T), variance * np.eye(2), atol=0.04 * variance)
    # shorter steps err less: the density's own variance is near already
    np.testing.assert_allclose(x.var(axis=0), temperature * spread**2, rtol=0.1)


def test_seeds_in_a_functional_model(tmp_path):
    x, seeds = keras.Input((3,)), keras.Input((), dtype="int64")
    model = keras.Model([x, seeds], make()(x, seeds=seeds))
    values = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = model.predict([values, np.arange(5)], verbose=0)
    np.testing.assert_allclose(found, make()(values, seeds=np.arange(5)), atol=1e-6)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict([values, np.arange(5)], verbose=0), found)


def test_a_sampler_has_one_sample_a_latent(tmp_path):
    """Copied, saved, exported, in any batch: noise follows from the latent."""
    generator, critic = oracles.point_generator(), oracles.smooth_critic((2,))
    sampler = kgl.refine(generator, critic, 0.1, 4, temperature=0.05)
    z = sampler.latent.sample(9, seed=0)
    expected = sampler(z)
    assert np.abs(expected - sampler.copy()(z)).max() == 0
    plain = kgl.refine(generator, critic, 0.1, 4)
    assert np.abs(expected - plain(z)).min() > 0
    alone = np.concatenate([sampler(z[i : i + 1]) for i in reversed(range(9))])[::-1]
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded(z), expected)
    assert loaded.stack.temperature == 0.05
    path = kgl.serving.export_sampler(sampler, tmp_path / "exported")
    with kgl.serving.connect(path) as client:
        found = client.sample(range(7))
        np.testing.assert_allclose(found[3:5], client.sample([3, 4]), atol=1e-5)
    # z of a seed is z of that row in bulk draws by seeds
    np.testing.assert_allclose(sampler(sampler.latent.sample_rows(range(7))), found, atol=1e-5)


@pytest.mark.parametrize("temperature", [-1, float("nan"), "1", None])
def test_bad_temperature(temperature):
    message = "`temperature` must be a non-negative finite number. Received"
    with pytest.raises(ValueError, match=message):
        kgl.layers.GradientLayer(oracles.smooth_critic((2,)), 0.1, temperature)
    with pytest.raises(ValueError, match=message):
        kgl.refine(None, oracles.smooth_critic((2,)), 0.1, 3, temperature=temperature)
