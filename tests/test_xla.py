"""XLA is used for models that it is known to speed up."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_gradlayer as kgl
from keras_gradlayer import _xla
from tests import oracles


class Custom(layers.Layer):
    def call(self, x):
        return x


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["one"])


def graph(end):
    x = keras.Input((4,))
    return keras.Model(x, end(layers.Dense(3)(x)))


DENSE = {
    "mlp": lambda: kgl.models.mlp_critic((2,)),
    "normalized": lambda: keras.Sequential(
        [layers.Input((2,)), layers.SpectralNormalization(layers.Dense(3)), layers.Dropout(0.5)]
    ),
    "graph": lambda: graph(layers.LeakyReLU()),
    "nested": lambda: keras.Sequential([layers.Input((4,)), graph(layers.Activation("tanh"))]),
}
CONVOLUTIONS = {
    "dcgan": lambda: kgl.models.dcgan_critic((8, 8, 3), width=2),
    "normalized": lambda: keras.Sequential(
        [layers.Input((8, 8, 3)), layers.SpectralNormalization(layers.Conv2D(2, 3))]
    ),
}
UNKNOWN = {
    "recurrent": lambda: keras.Sequential([layers.Input((4, 2)), layers.GRU(3)]),
    "custom": lambda: keras.Sequential([layers.Input((4,)), Custom()]),
    "function": lambda: graph(keras.ops.tanh),
}


@pytest.mark.parametrize("make", DENSE.values(), ids=list(DENSE))
def test_dense_networks_always(make, accelerator, monkeypatch):
    assert _xla.pays(make())
    monkeypatch.undo()
    assert _xla.pays(make())


@pytest.mark.parametrize("make", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
def test_convolutions_on_accelerators(make, accelerator, monkeypatch):
    assert _xla.pays(make())
    monkeypatch.undo()
    assert not _xla.pays(make())


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=list(UNKNOWN))
def test_nothing_that_may_fail(make, accelerator):
    assert not _xla.pays(make())
    assert not _xla.pays(DENSE["mlp"](), make())


def make(trainer, **kwargs):
    critic = kgl.models.mlp_critic((2,), units=8, depth=2)
    if trainer == "tuner":
        model = kgl.FineTuner(None, critic, 0.1)
    else:
        generator = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
        model = kgl.GAN(generator, critic)
    if kwargs is not None:
        model.compile(**kwargs)
    return model


@pytest.mark.parametrize("trainer", ["tuner", "gan"])
def test_trainers(trainer):
    assert make(trainer).jit_compile is True
    assert make(trainer, jit_compile=False).jit_compile is False
    assert make(trainer, run_eagerly=True).jit_compile is False
    model = make(trainer, jit_compile=True)
    model.fit(oracles.points(32), batch_size=16, verbose=0)
    assert model.jit_compile is True


def test_a_function_of_the_users_own():
    """It may do what XLA lacks, such as printing."""
    generator, critic = oracles.point_generator(), kgl.models.mlp_critic((2,), 4)
    for f, compiled in (("log_sigmoid", True), (lambda t: -tf.square(t - 1), False)):
        gan = kgl.GAN(generator, critic, kgl.objectives.Concave(f))
        gan.compile()
        assert gan.jit_compile == compiled


def test_samplers_and_models_not_compiled():
    """A convolutional model predicts without XLA on a CPU, compiled or not."""
    generator = kgl.models.dcgan_generator((8, 8, 3), latent_dim=4, width=2)
    critic = kgl.models.dcgan_critic((8, 8, 3), width=2)
    gan, tuner = kgl.GAN(generator, critic), kgl.FineTuner(generator, critic, 0.1)
    for model in (gan, tuner, tuner.sampler()):
        assert model.jit_compile is False
    samples = gan.predict(gan.latent.sample(2, seed=0), verbose=0)
    np.testing.assert_allclose(samples, gan(gan.latent.sample(2, seed=0)), atol=1e-6)
    assert make("tuner").sampler().jit_compile is True


def test_only_yes_no_and_auto():
    with pytest.raises(ValueError, match="True, False or 'auto'. Received: jit_compile=1.5"):
        make("tuner", jit_compile=1.5)
