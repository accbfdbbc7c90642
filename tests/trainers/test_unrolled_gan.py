import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.callbacks.test_generator_gradient_regularizer import Ones, Square


def make(**kwargs):
    keras.utils.set_random_seed(0)
    critic = kgl.models.mlp_critic((2,), units=8, depth=1)
    gan = kgl.UnrolledGAN(oracles.point_generator(), critic, steps=2)
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(1e-3),
        critic_optimizer=keras.optimizers.Adam(1e-3),
        **kwargs,
    )
    return gan


def test_contract(tmp_path):
    contract.check_trainer(make, tmp_path)


def parabola(w, a, steps, objective="wasserstein", step_size=0.05, critic_optimizer=None):
    """D(x) = w x² and G(z) = a z on data and latents that are 1: V = f(w) + f(−w a²)."""
    layers = keras.layers
    critic = keras.Sequential([layers.Input((1,)), Square(), layers.Dense(1, use_bias=False)])
    generator = keras.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    critic.set_weights([np.array([[w]])])
    generator.set_weights([np.array([[a]])])
    gan = kgl.UnrolledGAN(
        generator, critic, steps, step_size, objective, Ones((1,)), simultaneous=True
    )
    critic_optimizer = critic_optimizer or keras.optimizers.SGD(0.2)
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.1),
        critic_optimizer=critic_optimizer,
        jit_compile=False,
    )
    return gan


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("step_size", [0.05, None])
def test_closed_form(steps, step_size):
    """V is linear in w: k steps add k η (1 − a²) to it, and V_k = w (1 − a²) + k η (1 − a²)²."""
    w, a = 0.7, 0.4
    gan = parabola(w, a, steps, step_size=step_size)
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    k_eta = steps * (0.05 if step_size else 0.2)  # the critic's learning rate by default
    slope = -2 * a * w - 4 * k_eta * a * (1 - a**2)
    np.testing.assert_allclose(gan.generator.get_weights()[0], a - 0.1 * slope, rtol=1e-6)
    # the critic itself takes its one step
    np.testing.assert_allclose(gan.critic.get_weights()[0], w + 0.2 * (1 - a**2), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_minimax_against_finite_differences(steps):
    def value(w, a):
        return -np.logaddexp(0, -w) - np.logaddexp(0, w * a**2)

    def unrolled(a, w=0.7):
        for _ in range(steps):
            w += 0.05 * (1 / (1 + np.exp(w)) - a**2 / (1 + np.exp(-w * a**2)))
        return value(w, a)

    slope = (unrolled(0.4 + 1e-5) - unrolled(0.4 - 1e-5)) / 2e-5
    gan = parabola(0.7, 0.4, steps, "minimax")
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    np.testing.assert_allclose(gan.generator.get_weights()[0], 0.4 - 0.1 * slope, rtol=1e-6)


def adam(w, slope, steps, rate=0.05, betas=(0.5, 0.9), m=0.0, v=0.0, t=0):
    """Adam's ascent of a function with this slope, in float64; w and its state."""
    for _ in range(steps):
        g, t = -slope(w), t + 1
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        w -= rate * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + 1e-12)
    return w, dict(m=m, v=v, t=t)


def logistic_slope(a):
    """∂V/∂w of minimax V = log σ(w) + log σ(−w a²)."""
    return lambda w: 1 / (1 + np.exp(w)) - a**2 / (1 + np.exp(-w * a**2))


def test_adam_is_unrolled_from_where_it_stands():
    """Two updates in, so with moments of its own; the generator foresees four more steps."""
    w, state, a, expected = 0.7, {}, 0.4, []
    for _ in range(2):

        def value(a, w=w, state=state):
            w, _ = adam(w, logistic_slope(a), 4, **state)
            return -np.logaddexp(0, -w) - np.logaddexp(0, w * a**2)

        slope = (value(a + 1e-5) - value(a - 1e-5)) / 2e-5
        w, state = adam(w, logistic_slope(a), 1, **state)
        a -= 0.1 * slope
        expected.append((w, a))
    optimizer = keras.optimizers.Adam(0.05, beta_1=0.5, beta_2=0.9, epsilon=1e-12)
    gan = parabola(0.7, 0.4, 4, "minimax", None, optimizer)
    for found in expected:
        gan.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
        weights = [m.get_weights()[0].item() for m in (gan.critic, gan.generator)]
        np.testing.assert_allclose(weights, found, rtol=1e-5)


def test_momentum_is_unrolled():
    """V is linear in w: with momentum μ the steps are η Σ_{j<i} μ^j long, from none before."""
    w, a, mu = 0.7, 0.4, 0.5
    gan = parabola(w, a, 3, step_size=None, critic_optimizer=keras.optimizers.SGD(0.2, mu))
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, verbose=0)
    k_eta = 0.2 * (1 + (1 + mu) + (1 + mu + mu**2))
    slope = -2 * a * w - 4 * k_eta * a * (1 - a**2)
    np.testing.assert_allclose(gan.generator.get_weights()[0], a - 0.1 * slope, rtol=1e-6)


def _falling():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.7)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(_falling(), momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(_falling(), beta_1=0.5),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.05, momentum=0.5, centered=True),
}


def batches():
    return tf.constant(oracles.points(8)), tf.constant(oracles.points(8, seed=1))


def foresight(gan, steps=3):
    """V as foreseen, and V after as many updates of the critic itself, from the same seeds."""
    real, fake, generate = *batches(), gan.generate
    gan.generate = lambda n: fake
    gan.critic_update(real)  # the optimizer has a state of its own
    weights = {id(v) for v in gan.weights}
    seeds = [v for v in gan.variables if id(v) not in weights]
    drawn, before = [v.numpy() for v in seeds], gan.critic.get_weights()
    foreseen = float(gan.generator_loss(real, fake))
    for v, state in zip(seeds, drawn):
        v.assign(state)
    for a, b in zip(before, gan.critic.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # the steps are forgotten
    for _ in range(steps):
        gan.critic_update(real)
    gan.generate = generate
    return foreseen, float(gan.objective.value(gan.scores(real), gan.scores(fake)))


@pytest.mark.parametrize(
    ("name", "frozen"), [*((name, None) for name in OPTIMIZERS), ("sgd", 0), ("adam", 1)]
)
def test_the_steps_are_those_of_keras(name, frozen):
    """On several variables, one with a constraint and one with a regularizer."""
    layers = keras.layers
    critic = keras.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(4, "tanh", kernel_regularizer="l2"),
            layers.Dense(4, "tanh", kernel_constraint=keras.constraints.MaxNorm(0.5)),
            layers.Dense(1),
        ]
    )
    gan = kgl.UnrolledGAN(oracles.point_generator(), critic, steps=3)
    gan.compile(critic_optimizer=OPTIMIZERS[name](), jit_compile=False)
    if frozen is not None:
        critic.layers[frozen].trainable = False
    now = float(gan._value(*batches()))
    foreseen, found = foresight(gan)
    assert found == pytest.approx(foreseen, rel=1e-5)
    assert abs(found - now) > 1e-3


LAYERS = {
    "spectral norm": lambda power=1: [
        keras.layers.SpectralNormalization(keras.layers.Dense(8, "tanh"), power),
        keras.layers.SpectralNormalization(keras.layers.Dense(1), power),
    ],
    "batch norm": lambda: [
        keras.layers.Dense(8, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(1),
    ],
    "dropout": lambda: [
        keras.layers.Dense(8, "tanh"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(1),
    ],
}


def of_layers(name, steps=3, dtype=None, **arguments):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(dtype or "float32")
    inputs = keras.layers.Input((2,), dtype="float64" if dtype == "float64" else "float32")
    critic = keras.Sequential([inputs, *LAYERS[name](**arguments)])
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])
    gan = kgl.UnrolledGAN(generator, critic, steps)
    gan.compile(critic_optimizer=keras.optimizers.Adam(0.05), jit_compile=False)
    return gan


@pytest.mark.parametrize("name", LAYERS)
def test_what_an_update_changes_beside_its_gradient_is_foreseen(name):
    """Layers that assign in the forward pass, and that draw random numbers; with a penalty, too."""
    gan = of_layers(name)
    kgl.callbacks.GradientPenalty(1.0).set_model(gan)
    foreseen, found = foresight(gan)
    assert found == pytest.approx(foreseen, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    # Keras holds the singular vectors constant, which is exact where they have converged
    [("spectral norm", {"power": 30}), ("dropout", {})],
)
def test_gradient_through_such_layers(name, arguments):
    """Against central differences of V after the critic's own updates, in float64.

    Not with batch normalization: `tf.nn.moments` holds the mean constant in the variance, which
    leaves first derivatives right and second ones not.
    """
    gan = of_layers(name, 2, "float64", **arguments)
    real, fake = oracles.points(4), oracles.points(4, seed=1).astype("float64")
    state = [(v, v.numpy()) for v in (*gan.critic.variables, *gan.critic_optimizer.variables)]

    def value(fake):
        for v, start in state:
            v.assign(start)
        fake = tf.constant(fake)
        for _ in range(2):
            with tf.GradientTape() as tape:
                loss = -gan.objective.value(*(gan.critic(x, training=True) for x in (real, fake)))
            variables = gan.critic.trainable_variables
            gan.critic_optimizer.apply(tape.gradient(loss, variables), variables)
        return float(gan.objective.value(*(gan.critic(x, training=True) for x in (real, fake))))

    expected = oracles.finite_difference(value, fake)
    for v, start in state:
        v.assign(start)
    x = tf.constant(fake)
    with tf.GradientTape() as tape:
        tape.watch(x)
        foreseen = gan.generator_loss(real, x)
    # the scores are float32, whose rounding the updates carry on
    np.testing.assert_allclose(tape.gradient(foreseen, x), expected, atol=2e-5)
    assert np.abs(expected).max() > 1e-2


def test_clipping_is_foreseen():
    """What the critic can reach within the clip, no more."""
    gan = parabola(0.01, 0.4, 5, step_size=0.05)
    clipping = kgl.callbacks.WeightClipping(0.01)
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, callbacks=[clipping], verbose=0)
    # the clip holds w at 0.01 through all the steps: V = 0.01 (1 − a²) has no slope but its own
    slope = -2 * 0.4 * 0.01
    np.testing.assert_allclose(gan.generator.get_weights()[0], 0.4 - 0.1 * slope, rtol=1e-6)


def test_each_unrolled_step_draws_its_own_numbers():
    gan = make(jit_compile=False)
    drawn = []

    class Draw(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            drawn.append(float(keras.random.uniform((), seed=self.model.seed_generator)))

    Draw().set_model(gan)
    gan.generator_loss(*2 * [tf.constant(oracles.points(4))])
    after = float(keras.random.uniform((), seed=gan.seed_generator))
    assert len({*drawn, after}) == 3


def test_under_xla():
    real, fake = batches()
    values = [
        float(tf.function(of_layers("spectral norm").generator_loss, **kwargs)(real, fake))
        for kwargs in ({}, {"jit_compile": True})
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-5)


@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_precision(policy):
    """V foreseen is V found, to the precision of the critic's scores."""
    gan = of_layers("spectral norm", dtype=policy)
    foreseen, found = foresight(gan)
    assert found == pytest.approx(foreseen, rel=1e-5 if policy == "float64" else 0.05)
    gan.fit(oracles.points(16), batch_size=8, verbose=0)
    for w in oracles.weights_of(gan):
        assert np.isfinite(np.asarray(w, "float64")).all()


def test_no_gradient_is_nan_where_adam_has_seen_none():
    """The last bias has no gradient under Wasserstein, so its second moment is 0."""
    keras.utils.set_random_seed(0)
    gan = kgl.UnrolledGAN(
        oracles.point_generator(), kgl.models.mlp_critic((2,), units=8), 3, objective="wasserstein"
    )
    gan.compile()
    gan.fit(oracles.points(32), verbose=0)
    for w in oracles.weights_of(gan):
        assert np.isfinite(w).all()


@pytest.mark.parametrize(
    ("optimizer", "received"),
    [
        (lambda: keras.optimizers.Muon(), "Muon"),
        (lambda: keras.optimizers.Nadam(), "Nadam"),
        (lambda: keras.optimizers.AdamW(), "AdamW"),
        (
            lambda: keras.optimizers.Adam(clipnorm=1.0, weight_decay=0.1),
            "Adam with weight_decay, c",
        ),
    ],
)
def test_an_optimizer_that_cannot_be_unrolled(optimizer, received):
    models = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    with pytest.raises(ValueError, match=rf"Expected .*SGD, Adam or .*Received: {received}"):
        kgl.UnrolledGAN(*models).compile(critic_optimizer=optimizer())
    kgl.UnrolledGAN(*models, step_size=0.1).compile(critic_optimizer=optimizer())


def test_the_penalty_is_unrolled_too():
    """A penalty that pulls w to 3 changes what the generator foresees."""

    class Pull(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            [w] = self.model.critic.trainable_variables
            return 0.5 * keras.ops.sum(keras.ops.square(keras.ops.convert_to_tensor(w) - 3.0))

    gan = parabola(0.7, 0.4, 1)
    gan.fit(np.ones((4, 1), "float32"), batch_size=4, callbacks=[Pull()], verbose=0)
    a, w = 0.4, 0.7
    ahead = w + 0.05 * ((1 - a**2) + (3 - w))
    slope = -2 * a * ahead - 0.05 * 2 * a * (1 - a**2)
    np.testing.assert_allclose(gan.generator.get_weights()[0], a - 0.1 * slope, rtol=1e-6)


def test_bad_arguments():
    models = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    for bad in (0, -1, 1.5, True, "5"):
        with pytest.raises(ValueError, match="`steps` must be an integer from 1 to 1000"):
            kgl.UnrolledGAN(*models, steps=bad)
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        kgl.UnrolledGAN(*models, step_size=0)
