import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import objectives
from tests import contract, oracles

NAMES = ("wasserstein", "minimax", "non_saturating")


def scores(n=7, seed=0):
    return np.random.default_rng(seed).normal(size=(2, n)).astype("float32")


@pytest.mark.parametrize("objective", [*NAMES, objectives.Concave("log_sigmoid")])
def test_contract(objective):
    contract.check_objective(objectives.get(objective))


def test_wasserstein():
    objective = objectives.get("wasserstein")
    assert objectives.get(objective) is objective
    real, fake = np.array([1.0, 3.0], "float32"), np.array([0.5, -1.5], "float32")
    assert float(objective.value(real, fake)) == 2.5
    assert float(objective.generator_loss(fake)) == 0.5


def test_logarithms_of_the_sigmoid():
    real, fake = scores()
    d_real, d_fake = (1 / (1 + np.exp(-s.astype("float64"))) for s in (real, fake))
    for name in ("minimax", "non_saturating"):
        objective = objectives.get(name)
        expected = np.mean(np.log(d_real)) + np.mean(np.log(1 - d_fake))
        np.testing.assert_allclose(objective.value(real, fake), expected, rtol=1e-6)
    np.testing.assert_allclose(
        objectives.get("minimax").generator_loss(fake), np.mean(np.log(1 - d_fake)), rtol=1e-6
    )
    np.testing.assert_allclose(
        objectives.get("non_saturating").generator_loss(fake), -np.mean(np.log(d_fake)), rtol=1e-6
    )


def test_against_tf_gan():
    from keras_gradlayer._tfgan import losses

    real, fake = scores()
    theirs = losses.minimax_discriminator_loss(
        tf.constant(real), tf.constant(fake), label_smoothing=0.0
    )
    np.testing.assert_allclose(-objectives.get("minimax").value(real, fake), theirs, rtol=1e-6)
    # with a constant that the generator cannot change: log D of a real score of 1
    constant = -np.log1p(np.exp(-1.0))
    theirs = losses.minimax_generator_loss(tf.constant(fake)) - constant
    np.testing.assert_allclose(objectives.get("minimax").generator_loss(fake), theirs, rtol=1e-6)
    theirs = losses.modified_generator_loss(tf.constant(fake), label_smoothing=0.0)
    np.testing.assert_allclose(
        objectives.get("non_saturating").generator_loss(fake), theirs, rtol=1e-6
    )


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_no_overflow(name):
    """Scores of a critic that is sure: finite values and gradients."""
    objective = objectives.get(name)
    sure = tf.constant([-1e4, 1e4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sure)
        value, loss = objective.value(sure, sure), objective.generator_loss(sure)
    for number in (value, loss, tape.gradient(value, sure), tape.gradient(loss, sure)):
        assert np.isfinite(number).all()


def test_concave_is_the_general_form():
    real, fake = scores()
    for f, name in (("linear", "wasserstein"), ("log_sigmoid", "minimax")):
        general, case = objectives.Concave(f), objectives.get(name)
        np.testing.assert_allclose(general.value(real, fake), case.value(real, fake), rtol=1e-6)
        np.testing.assert_allclose(
            general.generator_loss(fake), case.generator_loss(fake), rtol=1e-6
        )
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(general))
        np.testing.assert_allclose(again.value(real, fake), case.value(real, fake), rtol=1e-6)
    with pytest.raises(ValueError):
        objectives.Concave("no such activation")


@pytest.mark.parametrize("name", NAMES)
def test_a_gan_trains_by_it(name, tmp_path):
    """One SGD step of each player is the step that the objective's gradient makes."""
    make = {"jit_compile": False}
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)), objective=name)
    gan.compile(generator_optimizer="sgd", critic_optimizer=keras.optimizers.SGD(1.0), **make)
    real = tf.constant(oracles.points(16))
    before = [tf.identity(v) for v in gan.critic.trainable_variables]
    seed = gan.seed_generator.state.numpy()
    fake = gan.generate(16)
    gan.seed_generator.state.assign(seed)
    with tf.GradientTape() as tape:
        value = gan.objective.value(gan.critic(real), gan.critic(fake))
    gradients = tape.gradient(value, gan.critic.trainable_variables)
    gan.critic_update(real)
    for v, b, g in zip(gan.critic.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(v, b + g, atol=1e-6)
    gan.save(tmp_path / "gan.keras")
    assert keras.saving.load_model(tmp_path / "gan.keras").objective.name == name


def test_unknown():
    with pytest.raises(ValueError, match="one of 'wasserstein', 'minimax', 'non_saturating' or"):
        objectives.get("hinge")
