"""Models of every precision train, with and without regularizers, with XLA and without."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests import oracles


def networks(dtype, regularizer):
    options = {"dtype": dtype, "kernel_regularizer": regularizer}
    generator = keras.Sequential(
        [keras.layers.Input((3,), dtype="float32"), keras.layers.Dense(2, "tanh", **options)]
    )
    critic = keras.Sequential(
        [
            keras.layers.Input((2,), dtype="float32"),
            keras.layers.Dense(8, "tanh", **options),
            keras.layers.Dense(1, **options),
        ]
    )
    return generator, critic


@pytest.mark.parametrize(
    ("dtype", "regularizer", "jit_compile"),
    [
        ("float64", None, "auto"),
        ("float64", "l2", False),
        ("bfloat16", "l2", "auto"),
        ("bfloat16", None, False),
        ("mixed_bfloat16", "l2", "auto"),
    ],
)
def test_trainers(dtype, regularizer, jit_compile):
    """E f(x) − E f(g(z)) is that of float32, from equal weights and latents, to the precision."""
    x, weights, found = oracles.points(64), None, {}
    for policy in ("float32", dtype):
        keras.utils.set_random_seed(1)
        generator, critic = networks(policy, regularizer)
        weights = weights or [generator.get_weights(), critic.get_weights()]
        for model, values in zip((generator, critic), weights):
            model.set_weights(values)
        tuner = kgl.FineTuner(generator, critic, 0.1, max_layers=1)
        tuner.compile(critic_optimizer="sgd", jit_compile=jit_compile)
        gan = kgl.GAN(generator, critic)
        gan.compile(generator_optimizer="sgd", critic_optimizer="sgd", jit_compile=jit_compile)
        penalty = [kgl.callbacks.GradientPenalty()]
        found[policy] = []
        for model in (tuner, gan):
            keras.utils.set_random_seed(1)
            model.seed_generator.state.assign([1, 0])
            logs = model.fit(x, batch_size=64, shuffle=False, callbacks=penalty, verbose=0).history
            assert np.isfinite(list(logs.values())).all()
            found[policy] += logs["wasserstein"]
        assert tuner.stack.depth == 1
    tolerance = 1e-5 if dtype == "float64" else 0.01  # of scores near 1, kept to 8 bits
    np.testing.assert_allclose(found[dtype], found["float32"], atol=tolerance)


def test_float64_is_kept():
    """Layers of a float64 critic move by more than float32 can tell."""
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, dtype="float64")])
    tuner = kgl.FineTuner(None, critic, 1e-9, output_activation=None, particles=4)
    tuner.compile(critic_optimizer=keras.optimizers.SGD(0.0))
    x = oracles.points(16)
    history = tuner.fit(x, batch_size=16, callbacks=[kgl.callbacks.GradientPenalty()], verbose=0)
    a = np.ravel(critic.get_weights()[0])
    assert history.history["flow_norm"][0] == pytest.approx(np.sum(a**2), rel=1e-6)
    z = np.array([[1.0, -1.0]])
    moved = np.asarray(tuner.stack(z))
    np.testing.assert_allclose(moved - z, 1e-9 * a[None], rtol=1e-5)


def test_copies_leave_the_global_policy_alone():
    keras.config.set_floatx("float32")
    kgl.FineTuner(*networks("float64", None), 0.1)
    assert keras.layers.Dense(1).compute_dtype == "float32"
    try:
        keras.config.set_floatx("float64")
        assert keras.config.floatx() == "float64"
    finally:
        keras.config.set_floatx("float32")


def test_the_generators_loss_is_scaled_where_the_critic_is_of_float16():
    """A gradient of 1e-7 is 0 in float16; that of the generator comes through the critic."""
    generator, _ = networks("float32", None)
    _, critic = networks("mixed_float16", None)
    critic.set_weights([1e-2 * w for w in critic.get_weights()])
    gan = kgl.GAN(generator, critic)
    gan.compile(generator_optimizer=keras.optimizers.SGD(1.0), critic_optimizer="sgd")
    for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    # beside float32
    exact, reference = networks("float32", None)
    exact.set_weights(generator.get_weights())
    reference.set_weights(critic.get_weights())
    plain = kgl.GAN(exact, reference)
    plain.compile(generator_optimizer=keras.optimizers.SGD(1.0), critic_optimizer="sgd")
    real, found = oracles.points(512), []
    for model in (gan, plain):
        model.seed_generator.state.assign([1, 0])
        scale = getattr(model.generator_optimizer, "dynamic_scale", 1.0)
        found.append([np.asarray(g) / scale for g in model.generator_gradients(real)])
    for g, expected in zip(*found):
        np.testing.assert_allclose(
            g, expected, rtol=0.02, atol=1e-9 + 0.02 * np.abs(expected).max()
        )
