"""A sampler's own predict gives what calling the model gives."""

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl


@pytest.fixture
def sampler():
    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=8, depth=2), 0.1)
    for _ in range(3):
        tuner.stack.append()
    return tuner.sampler()


@pytest.mark.parametrize("batch_size", [None, 1, 4, 7, 100])
def test_chunks(sampler, batch_size):
    """One chunk, full ones, and a last one that is filled up."""
    z = sampler.latent.sample(7, seed=0)
    found = sampler.predict(z, batch_size, verbose=0)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, sampler(z), atol=1e-6)  # compiled and eager
    np.testing.assert_array_equal(found, sampler.predict(z.numpy(), batch_size, verbose=0))


def test_what_keras_takes(sampler):
    """Data sets and callbacks go the usual way."""
    z = sampler.latent.sample(8, seed=0)
    data = tf.data.Dataset.from_tensor_slices(z).batch(4)
    np.testing.assert_allclose(sampler.predict(data, verbose=0), sampler(z), atol=1e-6)
    found = sampler.predict(z, 4, verbose=0, callbacks=[])
    np.testing.assert_allclose(found, sampler(z), atol=1e-6)


def test_bad_latents(sampler):
    with pytest.raises(ValueError, match=r"shape \(n, 2\).*Received: \(7, 3\)"):
        sampler.predict(np.zeros((7, 3), "float32"))
    with pytest.raises(ValueError, match="n of at least 1. Received: .0, 2."):
        sampler.predict(np.zeros((0, 2), "float32"))
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1"):
        sampler.predict(np.zeros((3, 2), "float32"), batch_size=0)
