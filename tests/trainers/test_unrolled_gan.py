import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.callbacks.test_generator_gradient_regularizer import Ones, Square


def make(**kwargs):
    keras.utils.set_random_seed(0)
    critic = kgl.models.mlp_critic((2,), units=8)
    gan = kgl.UnrolledGAN(oracles.point_generator(), critic, steps=3)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3), **kwargs)
    return gan


def test_contract(tmp_path):
    contract.check_trainer(make, tmp_path)


def test_modes():
    contract.check_trainer_modes(make)


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
    gan.compile(keras.optimizers.SGD(0.1), critic_optimizer, jit_compile=False)
    return gan


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
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


@pytest.mark.parametrize("frozen", [None, 0, 1])
@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: keras.optimizers.SGD(_falling(), momentum=0.9),
        lambda: keras.optimizers.Adam(_falling(), beta_1=0.5),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    ],
)
def test_the_steps_are_those_of_keras(make_optimizer, frozen):
    """On several variables, one with a constraint, with a schedule, from a state of its own."""
    layers = keras.layers
    critic = keras.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(4, "tanh"),
            layers.Dense(4, "tanh", kernel_constraint=keras.constraints.MaxNorm(0.5)),
            layers.Dense(1),
        ]
    )
    gan = kgl.UnrolledGAN(oracles.point_generator(), critic, steps=3)
    gan.compile(critic_optimizer=make_optimizer(), jit_compile=False)
    real, fake = tf.constant(oracles.points(8)), tf.constant(oracles.points(8, seed=1))

    def update():
        optimizer = getattr(gan.critic_optimizer, "inner_optimizer", gan.critic_optimizer)
        with tf.GradientTape() as tape:
            loss = -gan._value(real, fake)
        variables = critic.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    update()
    if frozen is not None:
        critic.layers[frozen].trainable = False
    foreseen = float(gan.generator_loss(real, fake))
    before = oracles.weights_of(critic)
    for _ in range(3):
        update()
    assert float(gan._value(real, fake)) == pytest.approx(foreseen, rel=1e-5)
    assert any(np.abs(a - b).max() > 0.01 for a, b in zip(before, oracles.weights_of(critic)))


def _falling():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.7)


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
    assert len({*drawn, after}) == 4


def test_without_steps_any_optimizer_will_do():
    gan = kgl.UnrolledGAN(oracles.point_generator(), kgl.models.mlp_critic((2,), units=8), 0)
    gan.compile(critic_optimizer="rmsprop")
    gan.fit(oracles.points(32), verbose=0)


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
        (lambda: keras.optimizers.RMSprop(), "RMSprop"),
        (lambda: keras.optimizers.AdamW(), "AdamW"),
        (lambda: keras.optimizers.Adam(amsgrad=True, clipnorm=1.0), "Adam with clipnorm, amsgrad"),
    ],
)
def test_an_optimizer_that_cannot_be_unrolled(optimizer, received):
    models = oracles.point_generator(), kgl.models.mlp_critic((2,), units=8)
    with pytest.raises(ValueError, match=rf"Expected\s.*SGD or Adam .*Received: {received}$"):
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
    for bad in (-1, 1.5, True, "5"):
        with pytest.raises(ValueError, match="`steps` must be an integer of at least 0"):
            kgl.UnrolledGAN(*models, steps=bad)
    with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
        kgl.UnrolledGAN(*models, step_size=0)
