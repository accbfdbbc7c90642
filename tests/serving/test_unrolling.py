"""An unrolled sampler is the sampler, in operations that other runtimes have."""

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl

RUNTIMES_LACK = {"While", "StatelessWhile", "ResourceGather", "GatherV2", "ShapeN"}


def make(activation, **settings):
    layers = keras.layers
    critic = [
        layers.Input((4, 4, 1)),
        layers.Conv2D(2, 3, strides=2, padding="same", activation=activation),
        layers.Flatten(),
        layers.Dense(4, activation),
        layers.Dense(1),
    ]
    generator = [layers.Input((3,)), layers.Dense(16), layers.Reshape((4, 4, 1))]
    models = keras.Sequential(generator), keras.Sequential(critic)
    tuner = kgl.FineTuner(*models, 5.0, insert="top", output_activation="tanh", **settings)
    for step_size in (5.0, 3.0):
        tuner.stack.append(step_size=step_size)
        tuner.critic.set_weights([1.5 * w for w in tuner.critic.get_weights()])
    return tuner


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus"])
def test_values_and_operations(activation):
    tuner = make(activation, steps_per_layer=2, objective="minimax", max_layers=4)
    sampler, unrolled = tuner.sampler(), kgl.serving.unroll(tuner)
    z = sampler.latent.sample(5, seed=1)
    expected = sampler(z).numpy()
    np.testing.assert_allclose(unrolled(z), expected, atol=1e-6)  # float32
    assert np.abs(expected - sampler(z, layers=1)).max() > 1e-3
    graph = unrolled.get_concrete_function().graph
    operations = {op.type for op in graph.get_operations()}
    gradients = {name for name in operations if name.endswith("Grad")}
    assert gradients <= {"BiasAddGrad"}  # of a constant, which converters leave out
    assert not operations & RUNTIMES_LACK


def test_what_cannot_be_unrolled():
    with pytest.raises(TypeError, match="`model` must be a FineTuner or a Sampler"):
        kgl.serving.unroll(keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]))
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    warm = kgl.refine(None, critic, 0.1, 1, temperature=0.5)
    with pytest.raises(ValueError, match="without conditions, temperature or penalty.*=0.5"):
        kgl.serving.unroll(warm)
