"""A fixed critic, followed without training."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles


def test_steps_along_one_critic(tmp_path):
    """With f = −½‖z − c‖² each step takes 1 − η off the distance to c."""
    center = np.array([0.3, -0.2])
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Quadratic(center)])
    sampler = kgl.refine(None, critic, step_size=0.1, steps=30, output_activation=None)
    assert isinstance(sampler, kgl.Sampler)
    assert sampler.depth == sampler.stack.max_layers == 1  # the critic is stored once
    z = sampler.latent.sample(50, seed=0)
    expected = center + 0.9**30 * (z - center)
    np.testing.assert_allclose(sampler(z), expected, atol=1e-5)
    np.testing.assert_array_equal(sampler(z, layers=0), z)
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded(z), sampler(z))


def test_auto_is_the_place_that_a_fine_tuner_takes():
    generator = kgl.models.dcgan_generator((16, 16, 1), 4, 4)
    critic = kgl.models.dcgan_critic((16, 16, 1), 4)
    sampler, tuner = kgl.refine(generator, critic, 0.5, 1), kgl.FineTuner(generator, critic, 0.5)
    assert tuner.insert not in ("auto", "top")
    assert sampler.base.output_shape == tuner.base.output_shape


@pytest.mark.parametrize("insert", ["top", "bottom", "hidden"])
def test_equals_as_many_layers_of_a_tuner_that_does_not_train(insert):
    generator, critic = oracles.point_generator(), oracles.smooth_critic((2,))
    arguments = {"insert": insert, "objective": "non_saturating"}
    sampler = kgl.refine(generator, critic, 0.5, 4, **arguments)
    tuner = kgl.FineTuner(generator, critic, 0.5, max_layers=4, **arguments)
    for _ in range(4):
        tuner.stack.append()
    z = sampler.latent.sample(20, seed=0)
    np.testing.assert_allclose(sampler(z), tuner(z), atol=1e-6)
    # a copy: the critic may train on
    expected = np.asarray(sampler(z))
    critic.set_weights([w + 1 for w in critic.get_weights()])
    np.testing.assert_array_equal(sampler(z), expected)


def test_a_discriminator():
    ends = keras.layers.Input((2,)), keras.layers.Dense(1, "sigmoid")
    sampler = kgl.refine(oracles.point_generator(), keras.Sequential([*ends]), 0.1, 3)
    assert sampler.stack.objective.name == "minimax"
    x = oracles.points(5)
    logits = np.asarray(ends[1](x))
    np.testing.assert_allclose(sampler.stack.score(x), np.log(logits / (1 - logits)), atol=1e-5)


def test_bad_arguments():
    critic = oracles.smooth_critic((2,))
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        kgl.refine(None, critic, -1.0, 3)
    with pytest.raises(ValueError, match="`steps` must be an integer from 1"):
        kgl.refine(None, critic, 0.1, 0)
