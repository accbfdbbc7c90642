import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import objectives
from tests import contract, oracles

NAMES = ("wasserstein", "minimax", "non_saturating", "kl", "hinge", "least_squares")


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


# φ', along which a layer moves a sample
SLOPES = {
    "wasserstein": lambda t: np.ones_like(t),
    "minimax": sigmoid,
    "non_saturating": lambda t: sigmoid(-t),
    "kl": lambda t: np.ones_like(t),
    "hinge": lambda t: np.ones_like(t),
    "least_squares": lambda t: 1 - t,
}


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


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("bfloat16", 0.02)])
@pytest.mark.parametrize("objective", [*NAMES, objectives.Concave("log_sigmoid")])
def test_precision(objective, dtype, rtol):
    """Of whatever precision the scores are, V is that of the same numbers, in their precision."""
    real, fake = tf.cast(scores(), dtype)
    objective = objectives.get(objective)
    for function, given in ((objective.value, (real, fake)), (objective.generator_loss, (fake,))):
        found = function(*given)
        assert found.dtype == dtype
        expected = function(*(tf.cast(x, "float64") for x in given))
        np.testing.assert_allclose(tf.cast(found, "float64"), expected, rtol=rtol)


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


def test_least_squares_and_hinge_against_tf_gan():
    from keras_gradlayer._tfgan import losses

    real, fake = map(tf.constant, scores())
    for name, critic_loss, generator_loss in (
        (
            "least_squares",
            losses.least_squares_discriminator_loss,
            losses.least_squares_generator_loss,
        ),
        (
            "hinge",
            losses.wasserstein_hinge_discriminator_loss,
            losses.wasserstein_generator_loss,
        ),
    ):
        objective = objectives.get(name)
        np.testing.assert_allclose(-objective.value(real, fake), critic_loss(real, fake), rtol=1e-6)
        np.testing.assert_allclose(objective.generator_loss(fake), generator_loss(fake), rtol=1e-6)


def test_kl_against_tf_gan():
    """−log D/(1 − D) is the sum of the two losses of Goodfellow et al."""
    from keras_gradlayer._tfgan import losses

    real, fake = map(tf.constant, scores())
    objective = objectives.get("kl")
    np.testing.assert_array_equal(
        objective.value(real, fake), objectives.get("minimax").value(real, fake)
    )
    constant = -np.log1p(np.exp(-1.0))
    theirs = losses.minimax_generator_loss(fake) - constant
    theirs += losses.modified_generator_loss(fake, label_smoothing=0.0)
    np.testing.assert_allclose(objective.generator_loss(fake), theirs, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("critic", "score", "gradient"),
    [
        (oracles.Linear([1.5, -2.0]), lambda x: x @ [1.5, -2.0], lambda x: [1.5, -2.0]),
        (
            oracles.Quadratic([0.3, -0.2]),
            lambda x: -0.5 * np.sum((x - [0.3, -0.2]) ** 2, axis=1),
            lambda x: [0.3, -0.2] - x,
        ),
    ],
)
def test_a_layer_follows_the_formula(name, critic, score, gradient, steps):
    """z + η φ'(f(z)) ∇f(z), m times with η/m."""
    stack = kgl.layers.GradientLayerStack(
        critic, 0.3, max_layers=2, steps_per_layer=steps, objective=name
    )
    stack.append()
    x = oracles.points(20)
    moved = x.astype("float64")
    for _ in range(steps):
        moved = moved + 0.3 / steps * SLOPES[name](score(moved))[:, None] * gradient(moved)
    np.testing.assert_allclose(stack(x), moved, atol=1e-6)
    np.testing.assert_allclose(stack.score(x, layer=0), score(x), atol=1e-6)  # f itself
    first = SLOPES[name](score(x))[:, None] * gradient(x)
    np.testing.assert_allclose(stack.follow(tf.constant(x))[1], first, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
class LogRatio(keras.layers.Layer):
    """log p(x)/q(x) for p = N(0, 1) and q = N(m, s²), its weights."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.m = self.add_weight(shape=(), initializer="zeros")
        self.s = self.add_weight(shape=(), initializer="ones")
        self.built = True

    def call(self, x):
        return tf.math.log(self.s) + ((x[:, 0] - self.m) / self.s) ** 2 / 2 - x[:, 0] ** 2 / 2


def test_kl_flow_of_gaussians_converges_at_its_rate():
    """x ← x + η ((x − m)/s² − x) is affine: m ← (1 − η) m, s ← s (1 − η + η/s²), so s² → 1."""
    eta, depth, m, s = 0.1, 40, 2.0, 3.0
    critic = LogRatio(dtype="float64")
    stack = kgl.layers.GradientLayerStack(critic, eta, depth, objective="kl", dtype="float64")
    x = np.random.default_rng(0).normal(size=(1000, 1))
    x = m + s * (x - x.mean()) / x.std()
    for k in range(depth):
        critic.set_weights([np.array(m), np.array(s)])
        stack.append()
        m, s = (1 - eta) * m, s * (1 - eta + eta / s**2)
        if k in (0, 9, depth - 1):
            moved = np.asarray(stack(x))
            np.testing.assert_allclose([moved.mean(), moved.std()], [m, s], rtol=1e-10)
    assert m == pytest.approx(2.0 * 0.9**40)
    assert s == pytest.approx(1.0, abs=1e-3)


@keras.saving.register_keras_serializable("tests")
class OnlyLosses(objectives.Objective):
    """As a user wrote one before there were potentials."""

    name = "only_losses"

    def value(self, real_scores, fake_scores):
        return tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores)

    def generator_loss(self, fake_scores):
        return -tf.reduce_mean(fake_scores)


class Doubled(objectives.Minimax):
    def generator_loss(self, fake_scores):
        return -2 * tf.reduce_mean(fake_scores)


def test_an_objective_without_a_potential():
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)), OnlyLosses())
    gan.compile()
    assert np.isfinite(gan.fit(oracles.points(), verbose=0).history["generator_loss"]).all()
    for cls in (OnlyLosses, Doubled):
        match = rf"{cls.__name__} defines a `generator_loss`.*Expected `potential\(scores\)`"
        with pytest.raises(NotImplementedError, match=match):
            kgl.FineTuner(None, oracles.smooth_critic((2,)), 0.1, objective=cls())


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "kl"])
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
    for f, alternative, name in (
        ("linear", 0.0, "wasserstein"),
        ("linear", 0.3, "wasserstein"),  # V' is V
        ("log_sigmoid", 0.0, "minimax"),
        ("log_sigmoid", 1.0, "non_saturating"),
    ):
        general, case = objectives.Concave(f, alternative), objectives.get(name)
        np.testing.assert_allclose(general.value(real, fake), case.value(real, fake), rtol=1e-6)
        np.testing.assert_allclose(
            general.generator_loss(fake), case.generator_loss(fake), rtol=1e-6
        )
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(general))
        np.testing.assert_allclose(again.value(real, fake), case.value(real, fake), rtol=1e-6)
        loss = case.generator_loss(fake)
        np.testing.assert_allclose(again.generator_loss(fake), loss, rtol=1e-6)
    mixed = objectives.Concave("log_sigmoid", 0.25).generator_loss(fake)
    parts = [objectives.get(name).generator_loss(fake) for name in ("minimax", "non_saturating")]
    np.testing.assert_allclose(mixed, 0.75 * parts[0] + 0.25 * parts[1], rtol=1e-6)
    with pytest.raises(ValueError, match="`alternative` must be a fraction from 0 to 1"):
        objectives.Concave("log_sigmoid", 1.5)
    with pytest.raises(ValueError):
        objectives.Concave("no such activation")


@pytest.mark.parametrize("name", NAMES)
def test_a_gan_trains_by_it(name, tmp_path):
    """One SGD step of each player is the step that the objective's gradient makes."""
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)), objective=name)
    gan.compile(critic_optimizer=keras.optimizers.SGD(1.0), jit_compile=False)
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
    with pytest.raises(ValueError, match="one of 'wasserstein', .*, 'least_squares' or an Obj"):
        objectives.get("hinges")
