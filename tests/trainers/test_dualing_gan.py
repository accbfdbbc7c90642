import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.trainers import _dual
from tests import contract, oracles

VARIANTS = ("linear", "cost", "score")


def linear_critic(stddev=0.05, units=6, activation="tanh"):
    init = keras.initializers.RandomNormal(stddev=stddev)
    features = keras.layers.Dense(units, activation, kernel_initializer=init)
    features.trainable = False
    return keras.Sequential([keras.layers.Input((2,)), features, keras.layers.Dense(1)])


def make(variant, critic=None, jit_compile=False, compiled=None, depth=3, **kwargs):
    keras.utils.set_random_seed(0)
    if critic is None:
        linear = variant == "linear"
        critic = linear_critic() if linear else kgl.models.mlp_critic((2,), 8, depth)
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])
    gan = kgl.DualingGAN(generator, critic, variant, **kwargs)
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.1),
        jit_compile=jit_compile,
        **(compiled or {}),
    )
    return gan


def test_contract(tmp_path):
    """Of the variant that has both a dual and a trust region."""

    def new(jit_compile=False, **kwargs):
        return make("score", jit_compile=jit_compile, compiled=kwargs, depth=1)

    contract.check_trainer(new, tmp_path, kgl.callbacks.InstanceNoise(0.1))
    contract.check_trainer_modes(new)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_precision(variant, policy):
    """The linear optimum is the optimum of the features as the critic computes them."""
    keras.config.set_dtype_policy(policy)
    gan = make(variant, critic=linear_critic(stddev=2.0), weight_decay=1e-3)
    gan.fit(oracles.points(), batch_size=16, verbose=0)
    if variant == "linear":
        real, fake = batch(gan)
        logs = gan._linear_step(real, fake)
        best = loss(gan, real, fake)
        assert abs(float(logs["duality_gap"])) < 1e-9
        rng = np.random.default_rng(0)
        for size in (0.1, 0.3, 1.0):  # no other w is better by more than half precision errs
            for v in gan.critic.trainable_variables:
                v.assign(v + size * rng.normal(size=v.shape))
            assert loss(gan, real, fake) > best - 2e-3


def test_a_huge_gram_matrix_leaves_no_nan():
    """Features of 1e4 and a small C: float32 sums would make the system indefinite."""
    gan = make("linear", critic=linear_critic(units=256, activation="relu", stddev=1e4))
    logs = gan.fit(oracles.points(128), batch_size=64, epochs=2, verbose=0).history
    assert np.isfinite(logs["duality_gap"]).all()
    for w in oracles.weights_of(gan):
        assert np.isfinite(w).all()


def batch(gan, n=12):
    """Real and generated samples."""
    return tf.constant(oracles.points(n)), tf.cast(gan.generate(n), "float32")


def loss(gan, real, fake):
    """f in float64 NumPy, from the scores of the critic."""
    real_scores, fake_scores = (np.asarray(gan.critic(x), "float64") for x in (real, fake))
    logistic = np.logaddexp(0, -real_scores).mean() + np.logaddexp(0, fake_scores).mean()
    squares = sum(np.sum(np.square(w)) for w in map(np.asarray, gan.critic.trainable_variables))
    return gan.weight_decay / 2 * squares + logistic / 2


@pytest.mark.parametrize("decay", [1e-3, 0.1, 3.0])
def test_linear_is_the_primal_optimum(decay):
    """No other w has a lower f: its gradient is zero, and f convex; the gap is below 1e-5."""
    gan = make("linear", weight_decay=decay)
    real, fake = batch(gan)
    logs = gan._linear_step(real, fake)
    assert abs(float(logs["duality_gap"])) < 1e-9
    with tf.GradientTape() as tape:
        *_, value = gan._loss(real, fake)
    assert float(value) == pytest.approx(loss(gan, real, fake), abs=1e-6)
    for g in tape.gradient(value, gan.critic.trainable_variables):
        np.testing.assert_allclose(g, 0, atol=2e-6)
    # the primal at w*, computed apart, less the dual, which the generator ascends
    dual = -float(gan.generator_loss(real, fake))
    assert abs(loss(gan, real, fake) - dual) < 1e-5


def test_linear_recovers_w_by_the_stated_formula():
    """w* = (Σ λ_x φ(x) − Σ λ_z φ(G(z)))/C, with λ = σ(∓F)/(2n) at the optimum."""
    gan = make("linear", weight_decay=0.01)
    real, fake = batch(gan)
    gan._linear_step(real, fake)
    phi = [np.c_[np.asarray(gan.critic.layers[0](x)), np.ones(len(x))] for x in (real, fake)]
    scores = [np.asarray(gan.critic(x))[:, 0] for x in (real, fake)]
    weights = [1 / (1 + np.exp(s)) / 24 for s in (scores[0], -scores[1])]
    expected = (weights[0] @ phi[0] - weights[1] @ phi[1]) / 0.01
    found = np.concatenate([np.ravel(v) for v in gan.critic.trainable_variables])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_linear_generator_ascends_the_dual():
    """The gradient is that of max_λ of the dual, by finite differences of the primal's minimum."""
    gan = make("linear", critic=linear_critic(stddev=2.0), weight_decay=0.01)
    real, fake = batch(gan)
    with tf.GradientTape() as tape:
        tape.watch(fake)
        value = gan.generator_loss(real, fake)
    gradient = tape.gradient(value, fake).numpy()

    def minimum(moved):
        gan._linear_step(real, tf.constant(moved, "float32"))
        return loss(gan, real, moved)

    # float32 features: differences of 1e-2 err by about 1e-5 either way
    found = oracles.finite_difference(minimum, fake.numpy(), eps=1e-2)
    np.testing.assert_allclose(-gradient, found, atol=5e-5)
    assert np.abs(gradient).max() > 1e-2


def test_cost_step():
    """s = −√(2Δ) ∇f/‖∇f‖, as long as f falls."""
    gan = make("cost", trust_region=0.005)
    real, fake = batch(gan)
    with tf.GradientTape() as tape:
        *_, value = gan._loss(real, fake)
    gradients = tape.gradient(value, gan.critic.trainable_variables)
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in map(np.asarray, gradients)))
    before = [v.numpy() for v in gan.critic.trainable_variables]
    logs = gan._cost_step(real, fake)
    for v, b, g in zip(gan.critic.trainable_variables, before, gradients):
        np.testing.assert_allclose(v - b, -0.1 * g / norm, atol=1e-6)
    ratio = (float(value) - loss(gan, real, fake)) / (0.1 * norm)
    assert ratio > 0.25
    assert float(logs["trust_region"]) == pytest.approx(0.005)  # not above what it was at first


@pytest.mark.parametrize("variant", ["cost", "score"])
def test_the_trust_region_follows_the_ratio(variant, monkeypatch):
    """Of what f fell by to what was promised, where the step reached the bound."""
    gan, solutions = make(variant, trust_region=1.0, weight_decay=1e-2), []
    solve = _dual.solve

    def watched(**kwargs):
        solutions.append(solve(**kwargs))
        return solutions[-1]

    monkeypatch.setattr(_dual, "solve", watched)
    real, fake = batch(gan)
    radius, seen = 1.0, set()
    for _ in range(120):
        with tf.GradientTape() as tape:
            *_, value = gan._loss(real, fake)
        before = oracles.weights_of(gan.critic)
        gradient = tape.gradient(value, gan.critic.trainable_variables)
        now = float(getattr(gan, f"_{variant}_step")(real, fake)["trust_region"])
        if variant == "cost":
            promised, at_bound = np.sqrt(2 * radius) * float(tf.linalg.global_norm(gradient)), True
        else:
            promised = float(value) - float(solutions[-1].model)
            at_bound = float(solutions[-1].norm) > 0.999 * np.sqrt(2 * radius)
        if promised < 1e-4:  # f falls by little more than its rounding
            break
        taken = any(np.any(a != b) for a, b in zip(before, oracles.weights_of(gan.critic)))
        ratio = (float(value) - loss(gan, real, fake)) / promised
        factor = 0.25 if not taken or ratio < 0.25 else 2 if ratio > 0.75 and at_bound else 1
        if abs(ratio - 0.25) > 0.01 and abs(ratio - 0.75) > 0.01:  # rounding at the thresholds
            assert now == pytest.approx(np.clip(factor * radius, 1e-6, 1.0))
            seen.add((factor, at_bound))
        radius = now
    assert seen >= {"cost": {(0.25, True), (1, True), (2, True)}, "score": {(1, False)}}[variant]


@pytest.mark.parametrize("variant", ["cost", "score"])
def test_the_trust_region_stands_where_nothing_can_be_gained(variant):
    """At a stationary point the ratio is rounding: the radius is kept for when the data change."""
    gan = make(variant, critic=oracles.smooth_critic((2,)))
    same = tf.constant(oracles.points(8))
    for v in gan.critic.trainable_variables:
        v.assign(0 * v)  # real and generated alike and w = 0: nothing is better
    for _ in range(20):
        logs = getattr(gan, f"_{variant}_step")(same, same)
    assert float(logs["trust_region"]) == pytest.approx(gan.trust_region)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_score_with_a_linear_critic_is_linear(start):
    gan = make("linear", weight_decay=0.02)
    real, fake = batch(gan)
    gan._linear_step(real, fake)
    expected = [v.numpy() for v in gan.critic.trainable_variables]
    other = make("score", critic=linear_critic(), weight_decay=0.02, trust_region=1e6)
    other.critic.layers[0].set_weights(gan.critic.layers[0].get_weights())
    for v in other.critic.trainable_variables:
        v.assign(start * np.random.default_rng(0).normal(size=v.shape))
    other._score_step(real, fake)
    for v, e in zip(other.critic.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(v, e, atol=2e-5)  # float32 weights of order 1


def test_score_step_is_the_best_within_the_trust_region():
    """Of the linearised scores' f: no step within the bound is better, by its own NumPy version."""
    radius, decay = 0.002, 1e-3
    critic = oracles.smooth_critic((2,))
    gan = make("score", critic=critic, weight_decay=decay, trust_region=radius)
    real, fake = batch(gan)
    x = np.concatenate([real, fake])
    signs = np.repeat([1.0, -1.0], 12)
    variables = gan.critic.trainable_variables
    w = np.concatenate([np.ravel(v) for v in variables]).astype("float64")

    def scores(values):
        ends = np.cumsum([v.shape.num_elements() for v in variables])
        for v, part in zip(variables, np.split(values, ends)):
            v.assign(part.reshape(v.shape))
        return np.asarray(gan.critic(x), "float64")[:, 0]

    base = scores(w)
    jacobian = np.stack(
        [(scores(w + e) - scores(w - e)) / 2e-3 for e in 1e-3 * np.eye(len(w))], axis=1
    )
    scores(w)
    gan._score_step(real, fake)
    step = np.concatenate([np.ravel(v) for v in variables]) - w

    def model(s):
        margins = signs * (base + jacobian @ s)
        return decay / 2 * np.sum((w + s) ** 2) + np.mean(np.logaddexp(0, -margins))

    assert step @ step / 2 == pytest.approx(radius, rel=1e-3)
    # at the optimum on the sphere the gradient points straight in
    q = signs / (1 + np.exp(signs * (base + jacobian @ step)))
    gradient = decay * (w + step) - jacobian.T @ q / len(x)
    cosine = gradient @ step / np.linalg.norm(gradient) / np.linalg.norm(step)
    assert cosine < -0.999
    assert model(step) < model(-0 * step)
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = step + 0.02 * rng.normal(size=len(w))
        other *= np.linalg.norm(step) / np.linalg.norm(other)
        assert model(step) <= model(other) + 1e-7


@pytest.mark.parametrize("variant", ["cost", "score"])
def test_a_step_that_does_not_help_is_not_taken(variant):
    gan = make(variant, trust_region=1e4)  # a model that holds nowhere near so far
    real, fake = batch(gan)
    if variant == "score":  # tanh: flat where the step leads
        gan = make("score", critic=oracles.smooth_critic((2,)), trust_region=1e4, weight_decay=1e-9)
    before, value = oracles.weights_of(gan.critic), loss(gan, real, fake)
    radius = 1e4
    for _ in range(30):
        gan.critic_update(real)
        after = loss(gan, real, fake)
        now = float(gan._radius)
        if all(np.array_equal(a, b) for a, b in zip(before, oracles.weights_of(gan.critic))):
            assert now == pytest.approx(radius / 4)
        before, radius = oracles.weights_of(gan.critic), now
    assert radius < 1e4
    assert after < value


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_logs(variant):
    gan = make(variant)
    logs = gan.fit(oracles.points(), verbose=0).history
    assert ("duality_gap" in logs) == (variant != "cost")
    assert ("trust_region" in logs) == (variant != "linear")
    assert logs.get("duality_gap", [0.0])[0] < 1e-5


def test_callbacks():
    gan = make("score", critic=oracles.smooth_critic((2,)))
    for bad in (
        kgl.callbacks.GradientPenalty(),
        kgl.callbacks.DRAGANPenalty(),
        kgl.callbacks.WeightClipping(),
    ):
        with pytest.raises(ValueError, match=f"solves for its critic.*{type(bad).__name__}$"):
            gan.fit(oracles.points(), callbacks=[bad], verbose=0)
    good = [
        kgl.callbacks.CriticInnerLoop(2),
        kgl.callbacks.InstanceNoise(0.1),
        kgl.callbacks.GeneratorGradientRegularizer(0.1),
    ]
    gan.fit(oracles.points(128), callbacks=good, verbose=0)
    assert int(gan.generator_optimizer.iterations) == 2


def test_bad_arguments():
    generator, critic = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    with pytest.raises(ValueError, match="`variant` must be one of .*Received: variant='primal'"):
        kgl.DualingGAN(generator, critic, "primal")
    with pytest.raises(ValueError, match="linear in its trainable variables.*Received: 'mlp_crit"):
        kgl.DualingGAN(generator, critic, "linear")
    shifted = keras.Sequential([*linear_critic().layers, keras.layers.Rescaling(1.0, 0.4)])
    with pytest.raises(ValueError, match="linear in its trainable variables"):
        kgl.DualingGAN(generator, shifted, "linear")
    with pytest.raises(ValueError, match="Expected no `simultaneous`"):
        kgl.DualingGAN(generator, critic, simultaneous=True)
    norm = keras.constraints.MaxNorm(1.0)
    for bound in ({"kernel_constraint": norm}, {"kernel_regularizer": "l2"}):
        held = keras.Sequential([keras.layers.Dense(1, **bound)])
        with pytest.raises(ValueError, match="without constraints.*Received: .*kernel"):
            kgl.DualingGAN(generator, held)
    for name in ("weight_decay", "trust_region"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive finite number"):
            kgl.DualingGAN(generator, critic, **{name: 0.0})
    with pytest.raises(ValueError, match="`inner_steps` must be an integer of at least 1"):
        kgl.DualingGAN(generator, critic, inner_steps=0)
    with pytest.raises(ValueError, match="`objective` must be one of .*minimax.*'wasserstein'"):
        kgl.DualingGAN(generator, critic, objective="wasserstein")
    with pytest.raises(TypeError, match="no_optimizer|generator_optimizer alone"):
        kgl.DualingGAN(generator, critic).compile(critic_optimizer="adam")
    frozen = kgl.models.mlp_critic((2,), units=8)
    frozen.trainable = False
    with pytest.raises(ValueError, match="no trainable variables to solve for"):
        kgl.DualingGAN(generator, frozen)
