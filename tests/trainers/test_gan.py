import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles


def make(**kwargs):
    keras.utils.set_random_seed(0)
    critic = keras.Sequential(
        [
            keras.layers.Input((2,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.2),  # its random stream has to go on after loading, too
            keras.layers.Dense(1),
        ]
    )
    gan = kgl.GAN(oracles.point_generator(), critic)
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(1e-3), critic_optimizer="rmsprop", **kwargs
    )
    return gan


def test_contract(tmp_path):
    contract.check_trainer(lambda **kwargs: make(jit_compile=True, **kwargs), tmp_path)


def test_modes():
    contract.check_trainer_modes(make)


def test_stock_callbacks(tmp_path):
    contract.check_stock_callbacks(make, tmp_path)


def test_resuming_restores_both_optimizers_in_the_middle_of_an_inner_loop(tmp_path):
    data = tf.data.Dataset.from_tensor_slices(oracles.points(28)).batch(4)  # seven batches
    callbacks = [kgl.callbacks.CriticInnerLoop(5), kgl.callbacks.GradientPenalty(10.0)]
    straight, stopped = make(), make()
    straight.fit(data, epochs=3, callbacks=callbacks, verbose=0)
    stopped.fit(data, epochs=1, callbacks=callbacks, verbose=0)
    stopped.save(tmp_path / "gan.keras")
    resumed = keras.saving.load_model(tmp_path / "gan.keras")
    assert float(resumed.generator_optimizer.learning_rate) == pytest.approx(1e-3)
    assert type(resumed.critic_optimizer).__name__ == "RMSprop"
    resumed.fit(data, epochs=3, initial_epoch=1, callbacks=callbacks, verbose=0)
    for a, b in zip(oracles.weights_of(resumed), oracles.weights_of(straight), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(resumed.generator_optimizer.iterations) == 21 // 5
    for name in ("generator_optimizer", "critic_optimizer"):
        ours, theirs = getattr(resumed, name), getattr(straight, name)
        for a, b in zip(ours.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("one_sided", [False, True])
def test_wgan_gp_step_against_numpy(one_sided):
    """The critic's loss and its whole update, from NumPy and finite differences in float64."""
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])
    critic = oracles.smooth_critic((2,))
    critic.set_weights([8 * w for w in critic.get_weights()])  # norms on both sides of 1
    gan = kgl.GAN(generator, critic)
    gan.compile(
        generator_optimizer=None, critic_optimizer=keras.optimizers.SGD(1.0), jit_compile=False
    )
    weights = [w.astype("float64") for w in critic.get_weights()]
    real = oracles.points(16)
    # the same random numbers: first the latents, then ε
    seed = keras.random.SeedGenerator(0)
    seed.state.assign(gan.seed_generator.state)
    z = gan.latent.sample(16, seed)
    epsilon = np.asarray(keras.random.uniform((16, 1), seed=seed), "float64")
    fake = np.asarray(generator(z), "float64")

    def terms(weights):
        x = epsilon * real + (1 - epsilon) * fake
        norm = np.linalg.norm(oracles.numpy_input_gradient(weights, x), axis=1)
        excess = np.maximum(norm - 1, 0) if one_sided else norm - 1
        value = np.mean(oracles.numpy_scores(weights, real.astype("float64")))
        value -= np.mean(oracles.numpy_scores(weights, fake))
        return value, 10 * np.mean(excess**2)

    callbacks = [
        kgl.callbacks.GradientPenalty(10.0, one_sided),
        kgl.callbacks.CriticInnerLoop(100),  # the critic alone moves
    ]
    history = gan.fit(real, batch_size=16, shuffle=False, callbacks=callbacks, verbose=0).history
    value, penalty = terms(weights)
    assert penalty > 0.01
    np.testing.assert_allclose(history["wasserstein"][0], value, rtol=0, atol=1e-5)
    np.testing.assert_allclose(history["penalty"][0], penalty, rtol=1e-5)
    np.testing.assert_allclose(history["critic_loss"][0], penalty - value, rtol=1e-5)

    for i, updated in enumerate(critic.get_weights()):

        def loss(w, i=i):
            value, penalty = terms([*weights[:i], w, *weights[i + 1 :]])
            return penalty - value

        gradient = oracles.finite_difference(loss, weights[i], eps=1e-4)
        # SGD with a rate of one: the update is the gradient. Two nested differences err by 1e-5.
        np.testing.assert_allclose(weights[i] - updated, gradient, rtol=1e-4, atol=1e-4)


def test_generator_step_against_finite_differences():
    """The generator descends −E f(g(z))."""
    generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])
    gan = kgl.GAN(generator, keras.Sequential([keras.layers.Input((2,)), oracles.Linear([2, -1])]))
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(1.0),
        critic_optimizer=keras.optimizers.SGD(0.0),
        jit_compile=False,
    )
    seed = keras.random.SeedGenerator(0)
    seed.state.assign(gan.seed_generator.state)
    gan.latent.sample(8, seed)  # the critic's
    z = np.asarray(gan.latent.sample(8, seed), "float64")
    kernel, bias = (w.astype("float64") for w in generator.get_weights())
    history = gan.fit(oracles.points(8), batch_size=8, verbose=0).history

    def loss(kernel):
        return -np.mean(np.tanh(z @ kernel + bias) @ [2, -1])

    np.testing.assert_allclose(history["generator_loss"][0], loss(kernel), rtol=1e-5)
    gradient = oracles.finite_difference(loss, kernel)
    np.testing.assert_allclose(kernel - generator.get_weights()[0], gradient, atol=1e-6)


def test_logs_are_means_over_the_epoch():
    gan = make(jit_compile=False)
    each = []

    class Each(kgl.callbacks.StepCallback):
        def critic_loss(self, real, fake):
            each.append(float(tf.reduce_mean(real)))
            return tf.reduce_mean(real)

    gan.compile(run_eagerly=True)
    history = gan.fit(oracles.points(24), batch_size=8, callbacks=[Each()], verbose=0, epochs=2)
    np.testing.assert_allclose(
        history.history["penalty"], np.reshape(each, (2, 3)).mean(axis=1), rtol=1e-5
    )
    expected = {"loss", "critic_loss", "wasserstein", "penalty", "generator_loss"}
    assert set(history.history) == expected
    assert history.history["loss"] == history.history["critic_loss"]


def test_it_learns():
    """Points around (0.5, -0.5) draw the generator's mean there."""
    rng = np.random.default_rng(0)
    data = np.float32([0.5, -0.5]) + 0.05 * rng.normal(size=(256, 2)).astype("float32")
    generator = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2, "tanh")])
    gan = kgl.GAN(generator, kgl.models.mlp_critic((2,), units=32, depth=2))
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(0.01, 0.5),
        critic_optimizer=keras.optimizers.Adam(0.01, 0.5),
    )
    callbacks = [kgl.callbacks.CriticInnerLoop(5), kgl.callbacks.GradientPenalty(10.0)]
    gan.fit(data, batch_size=32, epochs=150, callbacks=callbacks, verbose=0)
    samples = gan.predict(gan.latent.sample(500, seed=0), verbose=0)
    np.testing.assert_allclose(samples.mean(axis=0), [0.5, -0.5], atol=0.1)
    assert samples.std(axis=0).max() < 0.2


def test_predict_is_the_generator_in_inference_mode():
    gan = make()
    gan.fit(oracles.points(), verbose=0)
    z = gan.latent.sample(7, seed=0)
    expected = gan.generator(z, training=False)
    np.testing.assert_allclose(gan.predict(z, verbose=0), expected, atol=1e-6)
    np.testing.assert_array_equal(gan(z), expected)


def test_training_in_place():
    generator, critic = oracles.point_generator(), oracles.smooth_critic((2,))
    gan = kgl.GAN(generator, critic)
    assert gan.generator is generator
    assert gan.critic is critic
    assert repr(gan.latent) == "Gaussian(shape=(3,), stddev=1.0)"


def test_bad_models():
    generator = oracles.point_generator()
    with pytest.raises(ValueError, match=r"one score a sample.*Received: output shape \(None, 3\)"):
        kgl.GAN(generator, keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"`critic` does not take samples of shape \(2,\)"):
        kgl.GAN(generator, oracles.smooth_critic((5,)))
    with pytest.raises(ValueError, match="`objective` must be one of"):
        kgl.GAN(generator, oracles.smooth_critic((2,)), objective="hinges")

    class Free(keras.Model):
        def call(self, z, training=False):
            return z

    with pytest.raises(ValueError, match="latent's shape cannot be read off 'free'.*Pass `latent="):
        kgl.GAN(Free(name="free"), oracles.smooth_critic((2,)))
    kgl.GAN(Free(), oracles.smooth_critic((2,)), latent=kgl.latents.Gaussian((2,)))


def test_bad_compile():
    gan = make()
    with pytest.raises(ValueError, match="`jit_compile` must be True, False or 'auto'. Received"):
        gan.compile(jit_compile="yes")
    shared = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="`generator_optimizer` must be an optimizer of its own"):
        gan.compile(generator_optimizer=shared, critic_optimizer=shared)
    gan.critic.trainable = False
    with pytest.raises(ValueError, match="no trainable variables for `critic_optimizer`"):
        gan.compile()
    with pytest.raises(ValueError, match="compile"):
        kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,))).fit(oracles.points())
    with pytest.raises(NotImplementedError, match="Score samples from `predict"):
        gan.evaluate(oracles.points())


def test_compiled_under_the_strategy_that_it_was_made_under():
    gan = make()
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        expected = "Compile a GAN under the distribution strategy that it was made under"
        with pytest.raises(ValueError, match=expected):
            gan.compile()


@keras.saving.register_keras_serializable("tests")
class Squared(kgl.objectives.Objective):
    """An objective of one's own."""

    def value(self, real_scores, fake_scores):
        return -tf.reduce_mean((real_scores - 1) ** 2) - tf.reduce_mean(fake_scores**2)

    def generator_loss(self, fake_scores):
        return tf.reduce_mean((fake_scores - 1) ** 2)


def test_an_objective_of_ones_own(tmp_path):
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)), Squared())
    gan.compile()
    gan.fit(oracles.points(), verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert isinstance(loaded.objective, Squared)
    loaded.fit(oracles.points(), verbose=0)


def test_averaged_weights_are_put_in_place():
    """Keras' optimizers with use_ema put the averages in place when training ends."""
    gan = make()
    for name in ("generator", "critic"):
        setattr(gan, f"_{name}_ema", keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    gan.compile(generator_optimizer=gan._generator_ema, critic_optimizer=gan._critic_ema)
    gan.fit(oracles.points(), verbose=0)
    for name in ("generator", "critic"):
        optimizer, model = getattr(gan, f"{name}_optimizer"), getattr(gan, name)
        for average, v in zip(
            optimizer._model_variables_moving_average, model.trainable_variables, strict=True
        ):
            np.testing.assert_allclose(average, v)


def test_mixed_float16_makes_the_float32_update():
    """One SGD update of critic and generator, with the loss scaled and unscaled again."""
    updates = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(0)
        generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, "tanh")])
        critic = keras.Sequential(
            [keras.layers.Input((2,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
        )
        gan = kgl.GAN(generator, critic)
        optimizers = [keras.optimizers.SGD(0.1) for _ in range(2)]
        if policy == "mixed_float16":
            # from a scale at which nothing overflows, so that the first update is not skipped
            optimizers = [keras.optimizers.LossScaleOptimizer(o, 128.0) for o in optimizers]
        gan.compile(generator_optimizer=optimizers[0], critic_optimizer=optimizers[1])
        before = critic.get_weights() + generator.get_weights()
        gan.fit(
            oracles.points(16),
            batch_size=16,
            shuffle=False,
            callbacks=[kgl.callbacks.GradientPenalty()],
            verbose=0,
        )
        after = critic.get_weights() + generator.get_weights()
        updates.append([b - a for a, b in zip(before, after)])
        gan.compile()  # with optimizers of its own it scales where the models need it
        for optimizer in (gan.generator_optimizer, gan.critic_optimizer):
            scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
            assert scaled == (policy == "mixed_float16")
    for a, b in zip(*updates, strict=True):
        # half precision has eps = 1e-3; sums of a few dozen rounded terms
        np.testing.assert_allclose(a, b, atol=0.02 * np.abs(a).max() + 1e-5)


def test_the_generator_shows_the_critic_samples_of_training_mode():
    gan = make()
    norm = gan.generator.get_layer("norm")
    before = norm.moving_mean.numpy()
    gan.fit(oracles.points(), callbacks=[kgl.callbacks.CriticInnerLoop(100)], verbose=0)
    assert not np.allclose(norm.moving_mean, before)


def test_regularizers_of_weights():
    """L2(λ) adds 2 λ w to a gradient, of either player, and λ Σw² to the log."""

    def fit(strength, rate=0.1):
        keras.utils.set_random_seed(0)
        l2 = keras.regularizers.L2(strength) if strength else None
        generator = keras.Sequential(
            [keras.layers.Input((3,)), keras.layers.Dense(2, "tanh", kernel_regularizer=l2)]
        )
        critic = keras.Sequential(
            [
                keras.layers.Input((2,)),
                keras.layers.Dense(8, "tanh", kernel_regularizer=l2),
                keras.layers.Dense(1),
            ]
        )
        gan = kgl.GAN(generator, critic, simultaneous=True)
        gan.compile(
            generator_optimizer=keras.optimizers.SGD(rate),
            critic_optimizer=keras.optimizers.SGD(rate),
        )
        kernels = [generator.layers[0].kernel, critic.layers[0].kernel]
        before = [k.numpy() for k in kernels]
        logs = gan.fit(oracles.points(16), batch_size=16, shuffle=False, verbose=0).history
        return before, [k.numpy() for k in kernels], logs

    before, plain, logs = fit(0.0)
    _, regularized, with_l2 = fit(0.3)
    for w, a, b in zip(before, plain, regularized, strict=True):
        np.testing.assert_allclose(b, a - 0.1 * 2 * 0.3 * w, atol=1e-6)
    for name, w in (("generator_loss", before[0]), ("penalty", before[1])):
        added = with_l2[name][0] - logs[name][0]
        assert added == pytest.approx(0.3 * np.sum(w**2), rel=1e-4)


def test_a_critic_that_ends_with_a_sigmoid(recwarn):
    ends = keras.layers.Dense(1, "sigmoid"), keras.layers.Lambda(lambda x: x)
    for count in (1, 2):
        critic = keras.Sequential([keras.layers.Input((2,)), *ends[:count]])
        with pytest.warns(UserWarning, match="leave the sigmoid out") as caught:
            kgl.GAN(oracles.point_generator(), critic, "non_saturating")
        [warning] = [w for w in caught if "sigmoid" in str(w.message)]
        assert warning.filename == __file__
        kgl.GAN(oracles.point_generator(), critic, "least_squares")  # labels 0 and 1
    assert not [w for w in recwarn if "sigmoid" in str(w.message)]
