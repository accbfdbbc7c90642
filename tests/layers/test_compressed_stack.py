"""A compressed history replays the critics that it was made of, to the rounding of its bits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract
from tests.layers import test_gradient_layer_stack
from tests.serving.conftest import answers, image_tuner

BITS = {"int8": 8, "int4": 4, "bfloat16": 16}


def make(input_shape=(3,), precision="int8"):
    stack = test_gradient_layer_stack.make(input_shape)
    given = stack.potential, 0.5, stack.depth
    small = kgl.layers.CompressedStack(*given, precision=precision)
    small.copy_history(stack)
    return small


def rounded(w, base, precision):
    """The formula in NumPy: a scale for each channel, the last axis."""
    w, base = w.astype("float64"), base.astype("float64")
    if w.ndim < 2:
        return w
    d = w - base
    if precision == "bfloat16":
        return base + tf.cast(d, "bfloat16").numpy().astype("float64")
    levels = 2 ** (BITS[precision] - 1) - 1
    scale = np.abs(d).max(axis=tuple(range(d.ndim - 1))) / levels
    return base + np.rint(d / np.where(scale, scale, 1)) * scale


@pytest.fixture(scope="module")
def sampler():
    return image_tuner(depth=3).sampler()


def test_contract():
    contract.check_layer(lambda: make(precision="int4"), (3,))


def test_saving_and_policies(tmp_path):
    contract.check_layer_saving(make, (3,), tmp_path)
    contract.check_layer_precision(make, (3,))


@pytest.mark.parametrize("precision", BITS)
def test_critics_against_numpy(sampler, precision):
    """Each layer's critic is the last one and a rounded difference; biases are as they were."""
    small, stack = sampler.compress(precision), sampler.stack
    last = [w.numpy() for w in stack.values(2)]
    for k in range(3):
        for found, w, base in zip(small.stack.values(k), stack.values(k), last):
            # float32 in the place of float64, of weights below 1
            expected = rounded(w.numpy(), base, precision)
            np.testing.assert_allclose(found, expected, atol=1e-6)
    for found, w in zip(small.stack.values(2), last):
        np.testing.assert_array_equal(found, w)
    np.testing.assert_array_equal(small.step_sizes, sampler.step_sizes)


def test_an_odd_number_of_weights_in_four_bits():
    """3 x 5 weights take 8 bytes, and the last half byte is no weight."""
    layers = keras.layers
    critic = keras.Sequential([layers.Input((3,)), layers.Dense(5), layers.Dense(1)])
    stack = kgl.layers.GradientLayerStack(critic, 0.1, max_layers=2)
    first = critic.get_weights()
    critic.set_weights([w + 0.1 * np.arange(w.size).reshape(w.shape) for w in first])
    stack.append()
    critic.set_weights(first)
    small = kgl.layers.CompressedStack(critic, 0.1, max_layers=2, precision="int4")
    small.copy_history(stack)
    assert [tuple(v.shape) for v in small._history] == [(2, 8), (2, 5), (2, 3), (2, 1)]
    for found, w, base in zip(small.values(0), stack.values(0), first):
        np.testing.assert_allclose(found, rounded(w.numpy(), base, "int4"), atol=1e-6)


@pytest.mark.parametrize("precision", ["int4", "bfloat16"])  # int8: test_saving_and_policies
def test_samples_files_and_copies(sampler, precision, tmp_path):
    """The samples are those of the restored critics, also when saved, loaded and copied."""
    small, plain = sampler.compress(precision), sampler.copy()
    plain.stack.truncate(0)
    for k, step_size in enumerate(sampler.step_sizes):
        plain.stack.potential.set_weights(small.stack.values(k))
        plain.stack.append(step_size=step_size)
    z = sampler.latent.sample(16, seed=0)
    found = small.predict(z, verbose=0)
    np.testing.assert_allclose(found, plain.predict(z, verbose=0), atol=1e-6)  # two programs
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    for twin in (loaded, loaded.copy()):
        np.testing.assert_array_equal(twin.predict(z, verbose=0), found)
        assert twin.fingerprint() == small.fingerprint()
    assert small.fingerprint() != sampler.fingerprint()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_saved_model_holds_one_critic_and_the_differences(precision, tmp_path):
    sampler = image_tuner(depth=8).sampler()
    small = sampler.compress(precision)
    sizes = []
    for name, model in ("whole", sampler), ("small", small):
        folder = kgl.serving.export_sampler(model, tmp_path / name)
        shards = (folder / "variables").glob("*.data*")
        sizes.append(sum(file.stat().st_size for file in shards))
    kernels = [w for w in sampler.stack.potential.get_weights() if w.ndim > 1]
    weights, channels = sum(w.size for w in kernels), sum(w.shape[-1] for w in kernels)
    expected = 4 * (8 - 1) * weights - BITS[precision] * weights - 8 * 4 * channels
    # The file lists its variables by name, too, and has a few more of them.
    assert sizes[0] - sizes[1] == pytest.approx(expected, abs=800)
    z, depths = small.latent.sample(3, seed=0), tf.constant([0, 2, 9])
    served = answers(tmp_path / "small")["sample_layers"](latent=z, layers=depths)["samples"]
    np.testing.assert_allclose(served, small(z, layers=depths), atol=1e-5)  # eager and graph


def test_bad_input(sampler):
    with pytest.raises(ValueError, match="`precision` must be one of int8, .*'int3'"):
        sampler.compress("int3")
    small, empty = sampler.compress(), sampler.copy()
    with pytest.raises(ValueError, match="is not compressed. Received: one compressed before"):
        small.compress()
    empty.stack.truncate(0)
    with pytest.raises(ValueError, match="has layers.* Received: one without layers"):
        empty.compress()
    tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=4), 0.1, copy=False)
    tuner.stack.append()
    with pytest.raises(ValueError, match="critic of its own.* Received: one of FineTuner"):
        tuner.sampler().compress()
    with pytest.raises(ValueError, match="takes no more layers"):
        small.stack.append()
    with pytest.raises(ValueError, match="needs its potential as it is.*layer=1"):
        small.stack.restore(1)
    with pytest.raises(ValueError, match="do not fit the stack"):
        empty.stack.copy_history(small.stack)
