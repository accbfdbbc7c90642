import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles


class Trainer:
    """As much of a trainer as a penalty asks for."""

    def __init__(self, critic):
        self.critic, self.seed_generator = critic, keras.random.SeedGenerator(0)
        self.loop = types.SimpleNamespace(variables={}, callbacks=[])

    def join(self, callback):
        pass

    def scores(self, x):
        return self.critic(x)


def penalty(critic, real, fake, **kwargs):
    callback = kgl.callbacks.GradientPenalty(**kwargs)
    callback.set_model(Trainer(critic))
    return callback.critic_loss(tf.constant(real), tf.constant(fake))


def images(n=5, shape=(4, 4, 3), seed=0):
    return np.random.default_rng(seed).normal(size=(2, n, *shape)).astype("float32")


def make_trainer(**kwargs):
    trainer = kgl.GAN(oracles.point_generator(), kgl.models.mlp_critic((2,), units=8))
    trainer.compile(**kwargs)
    return trainer


def test_contract(tmp_path):
    contract.check_step_callback(kgl.callbacks.GradientPenalty, make_trainer, tmp_path)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("target", [1.0, 0.0, 2.0])
def test_linear_critic_in_closed_form(scale, one_sided, target):
    """‖∇f‖ = ‖a‖ everywhere: over all axes of a sample, not one, nor the whole batch."""
    a = np.random.default_rng(1).normal(size=(4, 4, 3))
    a *= scale / np.linalg.norm(a)
    found = penalty(oracles.Linear(a), *images(), weight=7.0, one_sided=one_sided, target=target)
    excess = scale - target
    expected = 7.0 * (max(0, excess) if one_sided else excess) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_epsilon_is_one_uniform_number_a_sample():
    """Between constant images x̂ shows ε: equal over the pixels of a sample, in [0, 1)."""
    seen = []

    def critic(x):
        seen.append(np.asarray(x))
        return tf.reduce_sum(x, axis=(1, 2, 3))

    n = 4000
    penalty(critic, np.ones((n, 2, 2, 3), "float32"), np.zeros((n, 2, 2, 3), "float32"))
    epsilon = seen[0][:, 0, 0, 0]
    np.testing.assert_array_equal(
        seen[0], np.broadcast_to(epsilon[:, None, None, None], (n, 2, 2, 3))
    )
    assert 0 <= epsilon.min() < 0.01
    assert 0.99 < epsilon.max() <= 1
    # uniform: the empirical distribution function errs by at most 1.95/sqrt(n) in 999 of 1000
    ranks = (np.arange(n) + 0.5) / n
    assert np.abs(np.sort(epsilon) - ranks).max() < 1.95 / np.sqrt(n)


def test_finite_gradient_at_zero_norm():
    critic = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    x = oracles.points(4)
    with tf.GradientTape() as tape:
        value = penalty(critic, x, x, weight=1.0)
    assert value == 1.0
    np.testing.assert_array_equal(tape.gradient(value, critic.trainable_variables)[0], 0.0)


@pytest.mark.parametrize("one_sided", [False, True])
def test_against_tf_gan(one_sided, monkeypatch):
    """TF-GAN's function on the same critic, the same data and the same ε."""
    from keras_gradlayer._tfgan import losses

    critic = oracles.smooth_critic((2, 2, 1))
    # steep enough that the one-sided penalty is not zero
    critic.set_weights([5 * w for w in critic.get_weights()])
    real, fake = images(32, (2, 2, 1))
    ours = penalty(critic, real, fake, weight=1.0, one_sided=one_sided)
    seed = keras.random.SeedGenerator(0)
    epsilon = keras.random.uniform((32, 1, 1, 1), seed=seed)
    # TF-GAN interpolates as real + α (fake − real)
    monkeypatch.setattr(tf.random, "uniform", lambda shape, **_: 1.0 - epsilon)

    @tf.function
    def theirs():
        return losses.wasserstein_gradient_penalty(
            tf.constant(real),
            tf.constant(fake),
            {},
            lambda x, _: critic(x),
            "critic",
            epsilon=1e-10,
            one_sided=one_sided,
        )

    assert ours > 0.1
    np.testing.assert_allclose(ours, theirs(), rtol=0, atol=1e-6)


def test_it_sees_what_the_critic_sees():
    """With gradient layers before a tanh the penalty is taken behind it, in the data space."""
    a = np.array([2.0, 0.0])
    critic = keras.Sequential([keras.layers.Input((2,)), oracles.Linear(a)])
    tuner = kgl.FineTuner(None, critic, 0.1, max_layers=1)
    tuner.compile(critic_optimizer="sgd")
    history = tuner.fit(
        oracles.points(16),
        batch_size=16,
        callbacks=[kgl.callbacks.GradientPenalty(10.0)],
        verbose=0,
    )
    assert history.history["penalty"][0] == pytest.approx(10.0, rel=1e-5)  # 10 (2 − 1)²


@pytest.mark.parametrize("name", ["weight", "target"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", None])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a non-negative finite number. Rec"):
        kgl.callbacks.GradientPenalty(**{name: value})
