import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl

LATENTS = [kgl.latents.Gaussian((3, 2), stddev=0.5), kgl.latents.Uniform((4,), -2.0, 1.0)]


@pytest.mark.parametrize("latent", LATENTS)
def test_contract(latent):
    z = latent.sample(5, seed=1)
    assert z.shape == (5, *latent.shape)
    assert z.dtype == tf.float32
    np.testing.assert_array_equal(z, latent.sample(5, seed=1))
    assert not np.allclose(z, latent.sample(5, seed=2))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(latent))
    assert repr(again) == repr(latent)
    np.testing.assert_array_equal(z, again.sample(5, seed=1))
    # a seed generator moves on
    generator = keras.random.SeedGenerator(0)
    assert not np.allclose(latent.sample(5, generator), latent.sample(5, generator))


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 3])
def test_bulk_samples_are_those_of_keras(seed):
    """The algorithm is named for speed alone; the numbers are Keras' own for the same seed."""
    ours = kgl.latents.Gaussian((3,), 0.5), kgl.latents.Uniform((3,), -2.0, 1.0)
    theirs = (
        keras.random.normal((5, 3), stddev=0.5, seed=seed),
        keras.random.uniform((5, 3), -2.0, 1.0, seed=seed),
    )
    for latent, expected in zip(ours, theirs):
        np.testing.assert_array_equal(latent.sample(5, seed), expected)


@pytest.mark.parametrize("latent", LATENTS)
def test_every_seed_of_64_bits_has_its_own_samples(latent):
    seeds = [0, -1, 2**31 - 3, 2**31 - 2, 2**31, 2**32, 2**40, -(2**31 - 2), -(2**63), 2**63 - 1]
    found = [tuple(np.ravel(latent.sample(2, seed))) for seed in seeds]
    assert len(set(found)) == len(seeds)
    for bad in (1.5, True, np.float32(1), 2**63, -(2**63) - 1, "7"):
        with pytest.raises(ValueError, match="`seed` must be an integer of 64 bits.*Received: se"):
            latent.sample(2, seed=bad)
    for bad in ([1.5], [True], [2**64], 7, [[7]], tf.constant([1.0])):
        with pytest.raises(ValueError, match=r"`seeds` must be integers of 64 bits, shape \(n,\)"):
            latent.sample_rows(bad)


def test_without_a_seed_the_numbers_follow_the_global_one():
    latent = kgl.latents.Gaussian((4,))
    keras.utils.set_random_seed(1)
    z = latent.sample(3), latent.sample(3)
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(z, [latent.sample(3), latent.sample(3)])
    assert not np.allclose(*z)


@pytest.mark.parametrize("latent", LATENTS)
def test_rows_depend_on_their_seed_alone(latent):
    rows = tf.function(latent.sample_rows)
    seeds = np.array([7, -1, 2**40, 7, 0])
    z = rows(tf.constant(seeds)).numpy()
    np.testing.assert_array_equal(z, latent.sample_rows(seeds))
    np.testing.assert_array_equal(z[0], z[3])
    for i, seed in enumerate(seeds):
        np.testing.assert_array_equal(z[i], latent.sample_rows([seed])[0])
    assert len(np.unique(z.reshape(5, -1)[:, 0])) == 4
    assert latent.sample_rows(np.zeros(0, "int64")).shape == (0, *latent.shape)


@pytest.mark.parametrize(
    ("latent", "mean", "stddev"),
    [
        (kgl.latents.Gaussian((10,), 0.5), 0, 0.5),
        (kgl.latents.Uniform((10,), -2.0, 1.0), -0.5, 3 / np.sqrt(12)),
    ],
)
def test_moments(latent, mean, stddev):
    # 20,000 entries: the mean errs by stddev / sqrt(20000) = 0.7%; five of those are allowed
    for z in (latent.sample(2000, seed=0), tf.function(latent.sample_rows)(np.arange(2000))):
        np.testing.assert_allclose(np.mean(z), mean, atol=0.035 * stddev)
        np.testing.assert_allclose(np.std(z), stddev, rtol=0.03)
    if isinstance(latent, kgl.latents.Uniform):
        assert np.min(z) >= -2
        assert np.max(z) < 1


@pytest.mark.parametrize("shape", [(), (0, 2), (2, -1), (2.5,), (None,)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="`shape` must be the shape of one sample.*Received"):
        kgl.latents.Gaussian(shape)


def test_bad_ranges():
    with pytest.raises(ValueError, match="`stddev` must be a positive finite number"):
        kgl.latents.Gaussian((2,), stddev=0)
    with pytest.raises(ValueError, match="`low` must be below `high`, both finite. Received"):
        kgl.latents.Uniform((2,), 1.0, 1.0)
    with pytest.raises(ValueError, match="both finite. Received: low=0.0, high=inf"):
        kgl.latents.Uniform((2,), 0.0, float("inf"))
