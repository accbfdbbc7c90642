import keras
import numpy as np
import pytest
from keras import layers

import keras_gradlayer as kgl
from keras_gradlayer.models.copying import copy_model
from tests import oracles


def sequential(*stack):
    return keras.Sequential([layers.Input((8,)), layers.Dense(6, "relu", name="first"), *stack])


def nested():
    return sequential(keras.Sequential([layers.Dense(5), layers.Dense(4, "tanh")], name="inner"))


def residual():
    inputs = keras.Input((8,))
    a = layers.Dense(8, name="a")(inputs)
    b = layers.Add(name="b")([inputs, a])
    return keras.Model(inputs, layers.Dense(2, "tanh", name="c")(b), name="residual")


def as_operation(activation):
    inputs = keras.Input((8,))
    return keras.Model(inputs, activation(layers.Dense(4)(inputs)))


# generator, and the values expected of (base, head) at the top: head(0), which tells the activation
TOP = {
    "activation layer": (lambda: sequential(layers.Dense(4), layers.Activation("sigmoid")), 0.5),
    "fused dense": (lambda: sequential(layers.Dense(4, "sigmoid")), 0.5),
    "fused, then reshaped": (
        lambda: sequential(layers.Dense(4, "sigmoid"), layers.Reshape((2, 2))),
        0.5,
    ),
    "between reshapes": (
        lambda: sequential(
            layers.Dense(4), layers.Reshape((2, 2)), layers.Activation("sigmoid"), layers.Flatten()
        ),
        0.5,
    ),
    "fused transposed convolution": (
        lambda: sequential(
            layers.Dense(32),
            layers.Reshape((4, 4, 2)),
            layers.Conv2DTranspose(3, 4, 2, padding="same", activation="sigmoid"),
        ),
        0.5,
    ),
    "fused, then cropped": (
        lambda: sequential(
            layers.Dense(72, "sigmoid"), layers.Reshape((6, 6, 2)), layers.Cropping2D(1)
        ),
        0.5,
    ),
    "operation, then sliced": (
        lambda: as_operation(lambda x: keras.ops.reshape(keras.ops.sigmoid(x), (-1, 2, 2))[:, :1]),
        0.5,
    ),
    "named with an underscore": (lambda: as_operation(keras.ops.hard_sigmoid), 0.5),
    "wrapped without activation": (
        lambda: sequential(layers.SpectralNormalization(layers.Dense(4))),
        0.0,
    ),
    "model at the end": (nested, 0.0),
    "no activation": (lambda: sequential(layers.Dense(4)), 0.0),
    "relu layer": (lambda: sequential(layers.Dense(4), layers.ReLU()), 0.0),
    "skip connection": (residual, 0.0),
    "activation as an operation": (lambda: as_operation(keras.ops.sigmoid), 0.5),
    "activation as a function": (lambda: as_operation(keras.activations.sigmoid), 0.5),
    "dcgan": (lambda: kgl.models.dcgan_generator((16, 16, 3), latent_dim=8, width=4), 0.0),
}


@pytest.mark.parametrize("name", TOP)
def test_split_top(name):
    make, at_zero = TOP[name]
    generator = make()
    z = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    expected = generator(z, training=False)
    for _ in range(2):  # cutting leaves the generator as it was
        base, head = kgl.models.split(generator, "top")
        between = base(z, training=False)
        np.testing.assert_allclose(head(between, training=False), expected, atol=1e-6)
        np.testing.assert_array_equal(generator(z, training=False), expected)
    zero = np.asarray(head(np.zeros_like(between)))
    np.testing.assert_array_equal(zero, np.full_like(zero, at_zero))
    if "no activation" not in name and "without" not in name:
        # the base gives pre-activations: beyond the range of the head for large latents
        assert np.abs(base(1e4 * z, training=False)).max() > 10
    for part in (base, head):
        again = type(part).from_config(part.get_config())
        assert again.output_shape == part.output_shape


def test_split_at_a_layer_and_at_the_bottom():
    generator = kgl.models.dcgan_generator((16, 16, 3), latent_dim=8, width=4)
    generator = copy_model("generator", generator, (8,))  # layers that stand in several graphs
    z = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    expected = generator(z, training=False)
    for layer in generator.layers[:-1]:
        base, head = kgl.models.split(generator, layer.name)
        between = base(z, training=False)
        np.testing.assert_allclose(head(between, training=False), expected, atol=1e-6)
    base, head = kgl.models.split(generator, "bottom")
    assert head is generator
    np.testing.assert_array_equal(base(z), z)
    base, head = kgl.models.split(residual(), "b")
    assert base.output_shape == (None, 8)


def test_split_errors():
    with pytest.raises(ValueError, match="'top', 'bottom' or the name of a layer.*a, b, c.*'d'"):
        kgl.models.split(residual(), "d")
    with pytest.raises(ValueError, match="'residual' cannot be cut after 'a': later layers need"):
        kgl.models.split(residual(), "a")

    class Free(keras.Model):
        def call(self, z):
            return z

    with pytest.raises(ValueError, match="ends with the Lambda 'act', which may or may not be an"):
        kgl.models.split(sequential(layers.Lambda(lambda x: x, name="act")), "top")
    wrapped = layers.SpectralNormalization(layers.Dense(4, "tanh"), name="wrapped")
    with pytest.raises(ValueError, match="ends with the SpectralNormalization 'wrapped', which m"):
        kgl.models.split(sequential(wrapped), "top")
    for end in (lambda x: keras.ops.clip(x, -1, 1), lambda x: 2 * keras.ops.sigmoid(x) - 1):
        with pytest.raises(ValueError, match="may not be an output activation.*`output_activ"):
            kgl.models.split(as_operation(end), "top")
    with pytest.raises(ValueError, match="Only a built Functional or Sequential generator.*Free"):
        kgl.models.split(Free(name="free"), "top")


def test_copy_shares_nothing():
    model = oracles.point_generator()
    twin = copy_model("generator", model, (3,))
    for a, b in zip(oracles.weights_of(model), oracles.weights_of(twin), strict=True):
        np.testing.assert_array_equal(a, b)
    twin.trainable = False
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert model.trainable_variables
    assert not np.allclose(model.get_weights()[0], twin.get_weights()[0])

    class NoConfig(keras.Model):
        def __init__(self, fn):
            super().__init__()
            self.fn = fn

        def call(self, x):
            return self.fn(x)

    with pytest.raises(ValueError, match="`critic` must be a model that can be rebuilt from its"):
        copy_model("critic", NoConfig(lambda x: x), (3,))
    scaled = keras.Sequential([layers.Input((3,)), layers.Lambda(lambda x: 2 * x)])
    with pytest.raises(ValueError, match=r"after keras.config.enable_unsafe_deserialization\(\)"):
        copy_model("generator", scaled, (3,))


def test_critics():
    critic = kgl.models.mlp_critic((2,), units=7, depth=3)
    assert [w.shape for w in critic.get_weights()[::2]] == [(2, 7), (7, 7), (7, 7), (7, 1)]
    assert critic(oracles.points(4)).shape == (4, 1)
    assert kgl.models.mlp_critic((4, 4, 1))(np.zeros((2, 4, 4, 1))).shape == (2, 1)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (48, 48, 3), (16, 8, 1)])
def test_dcgan(shape):
    generator = kgl.models.dcgan_generator(shape, latent_dim=5, width=4)
    critic = kgl.models.dcgan_critic(shape, width=4)
    images = generator(np.random.default_rng(0).normal(size=(3, 5)))
    assert images.shape == (3, *shape)
    assert np.abs(images).max() <= 1
    assert critic(images).shape == (3, 1)
    assert not [m for m in critic.layers if "normalization" in m.name]


def test_dcgan_has_the_size_of_the_papers_network():
    # width 32 on 32x32x3: as counted by hand for 5x5 kernels
    assert kgl.models.dcgan_critic((32, 32, 3), 32).count_params() == 260_673
    assert kgl.models.dcgan_generator((32, 32, 3), 128, 32).count_params() == 529_123


@pytest.mark.parametrize("make", [kgl.models.dcgan_generator, kgl.models.dcgan_critic])
@pytest.mark.parametrize("shape", [(7, 8, 3), (4, 4, 1), (9, 9, 3)])
def test_dcgan_bad_shape(make, shape):
    with pytest.raises(ValueError, match="even height and width of at least 8. Received"):
        make(shape)
