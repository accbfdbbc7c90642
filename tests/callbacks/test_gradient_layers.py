import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import contract, oracles
from tests.oracles import Linear

INSERTS = ("bottom", "base")


def generator(output="tanh"):
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(4, "tanh", name="base"),
            layers.Dense(2, output, name="head"),
        ]
    )


def make(critic=None, output="tanh", callback=None, **kwargs):
    keras.utils.set_random_seed(0)
    gan = kgl.GAN(generator(output), critic or oracles.smooth_critic((2,)))
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(1.0),
        critic_optimizer=keras.optimizers.SGD(1.0),
        **kwargs,
    )
    if callback:
        callback.set_model(gan)
    return gan


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("insert", INSERTS)
def test_linear_critic_and_head(insert, layers):
    """f∘head is linear: each layer shifts by η times its gradient."""
    callback = kgl.callbacks.GradientLayers(0.1, insert, layers)
    gan = make(Linear([2.0, -1.0]), "linear", callback)
    z = gan.latent.sample(5, seed=0)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in gan.generator.layers)
    if insert == "base":
        moved = np.tanh(z @ w1 + b1) + 0.1 * layers * (w2 @ [2.0, -1.0])
        np.testing.assert_allclose(callback.generate(z), moved @ w2 + b2, rtol=1e-5)
        return
    # through the tanh by the chain rule, a step at a time, in float64
    z = np.asarray(z, "float64")
    for _ in range(layers):
        z = z + 0.1 * ((1 - np.tanh(z @ w1 + b1) ** 2) * (w2 @ [2.0, -1.0])) @ w1.T
    expected = np.tanh(z @ w1 + b1) @ w2 + b2
    np.testing.assert_allclose(callback.generate(gan.latent.sample(5, seed=0)), expected, rtol=1e-5)


@pytest.mark.parametrize("insert", INSERTS)
def test_the_generators_gradient(insert):
    """Through the layer to the base, to the head from outside: critic and head frozen in it."""
    eta, latents = 0.5, np.random.default_rng(0).normal(size=(6, 3))
    callback = kgl.callbacks.GradientLayers(eta, insert)
    gan = make(callback=callback, jit_compile=False)
    gan.latent.sample = lambda n, seed=None: tf.constant(latents, "float32")
    gradients = gan.generator_gradients(tf.constant(oracles.points(6)))
    weights = oracles.weights_of(gan.generator)
    critic = oracles.weights_of(gan.critic)

    def forward(x, part):
        for w, b in part:
            x = np.tanh(x @ w + b)
        return x

    def loss(values):
        cut = 0 if insert == "bottom" else 2
        base, head = [values[:2]][: cut // 2], [values[:2], values[2:]][cut // 2 :]
        frozen = [weights[:2], weights[2:]][cut // 2 :]
        x = forward(latents, base)

        def scores(x):
            return oracles.numpy_scores(critic, forward(x, frozen)).sum()

        x = x + eta * oracles.finite_difference(scores, x)
        return -oracles.numpy_scores(critic, forward(x, head)).mean()

    for i, gradient in enumerate(gradients):
        others = [np.asarray(w, "float64") for w in weights]

        def of_one(value, i=i, others=others):
            return loss([*others[:i], value, *others[i + 1 :]])

        # differences of differences: 1e-6 and 1e-3 apart, float64
        expected = oracles.finite_difference(of_one, weights[i], eps=1e-3)
        np.testing.assert_allclose(gradient, expected, atol=2e-5)


def test_the_layers_follow_the_critic_and_the_head():
    """One compiled program; the layers are those of the present variables."""
    callback = kgl.callbacks.GradientLayers(0.1, "base")
    gan = make(Linear([2.0, -1.0]), "linear", callback)
    z = gan.latent.sample(5, seed=0)
    compiled = tf.function(callback.generate, jit_compile=True)
    before = compiled(z)
    for model in (gan.critic, gan.generator):
        model.set_weights([1.5 * w for w in model.get_weights()])
        after = compiled(z)
        np.testing.assert_allclose(after, callback.generate(z), rtol=1e-5)
        assert np.abs(after - before).max() > 0.01
        before = after


@pytest.mark.parametrize("insert", INSERTS)
def test_the_sampler_is_what_was_trained(insert, tmp_path):
    callback = kgl.callbacks.GradientLayers(0.2, insert, layers=2)
    gan = make()
    gan.fit(oracles.points(), epochs=2, callbacks=[callback], verbose=0)
    z = gan.latent.sample(7, seed=0)
    sampler = callback.sampler()
    expected = callback.generate(z)
    np.testing.assert_allclose(sampler(z), expected, atol=1e-6)
    np.testing.assert_allclose(sampler(z, layers=0), gan.generator(z), atol=1e-6)
    assert np.abs(sampler(z) - gan.generator(z)).max() > 1e-3
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded(z), sampler(z))
    # it stands apart: training on does not change it
    gan.fit(oracles.points(), callbacks=[callback], verbose=0)
    np.testing.assert_array_equal(loaded(z), sampler(z))
    folder = kgl.serving.export_sampler(sampler, tmp_path / "served")
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    [samples] = served(tf.constant(z)).values()
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize("kwargs", [{"jit_compile": True}, {"jit_compile": False}])
def test_a_step_is_the_gradients(kwargs):
    """With SGD(1.0) the generator's step is what `generator_gradients` gives, in every mode."""
    callback = kgl.callbacks.GradientLayers(0.3, "base")
    gan, twin = make(**kwargs), make(callback=callback, jit_compile=False)
    for trainer in (gan, twin):
        trainer.critic.trainable = False
        trainer.latent.sample = lambda n, seed=None: tf.ones((n, 3)) * tf.range(1.0, 4.0) / 4
    before = oracles.weights_of(twin.generator)
    gradients = twin.generator_gradients(tf.constant(oracles.points(8)))
    move = gan.program(gan.generator_move)
    kgl.callbacks.GradientLayers(0.3, "base").set_model(gan)
    move(tf.constant(oracles.points(8)))
    for w, b, g in zip(oracles.weights_of(gan.generator), before, gradients):
        np.testing.assert_allclose(w, b - g, atol=1e-6)


def test_contract(tmp_path):
    def new(**kwargs):
        keras.utils.set_random_seed(0)
        gan = kgl.GAN(oracles.point_generator(), kgl.models.mlp_critic((2,), units=8))
        gan.compile(
            generator_optimizer=keras.optimizers.Adam(1e-3),
            critic_optimizer=keras.optimizers.Adam(1e-3),
            **kwargs,
        )
        return gan

    callback = kgl.callbacks.GradientLayers(0.1, "hidden")
    contract.check_trainer(new, tmp_path, callback)
    contract.check_trainer_modes(new, [callback])


@pytest.mark.parametrize("insert", INSERTS)
def test_each_class_follows_its_own_critic(insert):
    """f(x, c) = w_c·x, and samples W z + V[c]: a closed form, and the sampler has the layers."""
    z, c = keras.Input((3,)), keras.Input((1,), dtype="int32")
    h = keras.layers.Dense(4, name="base", use_bias=False)(z)
    offset = keras.layers.Flatten()(keras.layers.Embedding(2, 2)(c))
    y = keras.layers.Dense(2, name="head", use_bias=False)(h) + offset
    x, d = keras.Input((2,)), keras.Input((1,), dtype="int32")
    directions = keras.layers.Flatten()(keras.layers.Embedding(2, 2)(d))
    critic = keras.Model([x, d], keras.layers.Dot(1)([x, directions]))
    critic.set_weights([np.array([[1.0, 0.0], [-1.0, 2.0]], "float32")])
    gan = kgl.GAN(keras.Model([z, c], y), critic)
    gan.compile(critic_optimizer=keras.optimizers.SGD(1e-3))
    callback = kgl.callbacks.GradientLayers(0.1, insert, layers=2)
    labels = np.arange(48) % 2
    penalty = kgl.callbacks.GradientPenalty()
    gan.fit(oracles.points(48), labels, callbacks=[callback, penalty], verbose=0)
    assert gan.critic_optimizer.iterations > 0
    latents, classes = gan.latent.sample(6, seed=0), tf.constant([[0], [1], [1], [0], [1], [0]])
    weights = {w.shape: w.numpy().astype("float64") for w in gan.generator.weights}
    a, b, offsets = weights[3, 4], weights[4, 2], weights[2, 2]
    slope = np.asarray(critic.get_weights()[0], "float64")[np.ravel(classes)] @ b.T  # at h
    expected = (np.array(latents) @ a) @ b + offsets[np.ravel(classes)]
    expected += 0.2 * slope @ (a.T @ a if insert == "bottom" else np.eye(4)) @ b
    np.testing.assert_allclose(callback.generate((latents, classes)), expected, rtol=1e-4)
    sampler = callback.sampler()
    np.testing.assert_allclose(sampler([latents, classes]), expected, rtol=1e-4)
    np.testing.assert_array_equal(sampler(latents), sampler([latents, gan.conditions.of(latents)]))


def test_in_float64():
    """η of 1e-9 moves samples by what float32 would lose."""
    critic = Linear([2.0, -1.0], dtype="float64")
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, dtype="float64", name="base")]
    identity = keras.layers.Activation("linear", dtype="float64", name="end")
    gan = kgl.GAN(keras.Sequential([*layers, identity]), critic)
    gan.compile()
    callback = kgl.callbacks.GradientLayers(1e-9, "base")
    callback.set_model(gan)
    z = gan.latent.sample(5, seed=0)
    moved = np.array(callback.generate(z)) - np.array(gan(z))
    np.testing.assert_allclose(moved, np.tile([2e-9, -1e-9], (5, 1)), rtol=1e-5)


def test_with_other_trainers():
    models = generator(), kgl.models.mlp_critic((2,), units=8)
    for gan in (kgl.UnrolledGAN(*models, steps=2), kgl.DualingGAN(*models)):
        gan.compile()
        callback = kgl.callbacks.GradientLayers(0.1, "base")
        history = gan.fit(oracles.points(), callbacks=[callback], verbose=0).history
        assert np.isfinite(history["generator_loss"]).all()
    tuner = kgl.FineTuner(*models, step_size=0.1)
    tuner.compile()
    with pytest.raises(TypeError, match="move the generator's parameters.*a FineTuner"):
        tuner.fit(oracles.points(), callbacks=[callback], verbose=0)


def test_at_the_bottom_of_any_generator():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, z):
            return self.dense(z)

    latent = kgl.latents.Gaussian((3,))
    gan = kgl.GAN(Subclassed(), oracles.smooth_critic((2,)), latent=latent)
    gan.compile()
    callback = kgl.callbacks.GradientLayers(0.1)
    gan.fit(oracles.points(), callbacks=[callback], verbose=0)
    z = latent.sample(4, seed=0)
    assert np.abs(callback.generate(z) - gan(z)).max() > 1e-4


def test_a_callback_that_makes_samples_is_not_ignored():
    class Doubled(kgl.callbacks.StepCallback):
        def generate(self, z):
            return 2 * self.model.generator(z)

    tuner = kgl.FineTuner(generator(), oracles.smooth_critic((2,)), step_size=0.1)
    tuner.compile()
    with pytest.raises(TypeError, match="Doubled is for trainers that move the generator's"):
        tuner.fit(oracles.points(), callbacks=[Doubled()], verbose=0)


def test_bad_arguments():
    with pytest.raises(ValueError, match="of `fit` with it, or of `set_model"):
        kgl.callbacks.GradientLayers(0.1).sampler()
    for bad in (0, -1.0, np.inf):
        with pytest.raises(ValueError, match="`step_size` must be a positive finite number"):
            kgl.callbacks.GradientLayers(bad)
    with pytest.raises(ValueError, match="`layers` must be an integer from 1"):
        kgl.callbacks.GradientLayers(0.1, layers=0)
    with pytest.raises(ValueError, match="Expected insert='bottom' or a layer's name"):
        kgl.callbacks.GradientLayers(0.1, "top")
    with pytest.raises(ValueError, match="one of base, head. Received: insert='middle'"):
        make(callback=kgl.callbacks.GradientLayers(0.1, "middle"))
    two = [kgl.callbacks.GradientLayers(0.1), kgl.callbacks.GradientLayers(0.2)]
    with pytest.raises(ValueError, match="one callback that makes the samples.*GradientLayers, G"):
        make().fit(oracles.points(), callbacks=two, verbose=0)
