import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_gradlayer as kgl
from keras_gradlayer.models.copying import copy_model
from keras_gradlayer.models.output_range import output_range
from keras_gradlayer.models.splitting import cut

INF = np.inf


def sequential(*stack, **kwargs):
    return keras.Sequential([layers.Input((8,)), *stack], **kwargs)


def functional(call, **kwargs):
    z = keras.Input((8,))
    return keras.Model(z, call(z), **kwargs)


def image(activation, *after):
    """A picture of 4x4 pixels, and layers behind its activation."""
    pixels = layers.Dense(48), layers.Reshape((4, 4, 3))
    return sequential(*pixels, layers.Activation(activation), *after)


def as_operation(activation):
    return functional(lambda z: activation(layers.Dense(4)(z)))


def residual():
    z = keras.Input((8,))
    a = layers.Dense(8, name="a")(z)
    b = layers.Add(name="b")([z, a])
    return keras.Model(z, layers.Dense(2, "tanh", name="c")(b), name="residual")


def table():
    """Two numbers in [-1, 1] and a category of three."""

    def call(z):
        h = layers.Dense(6, "relu")(z)
        return layers.Concatenate()([layers.Dense(2, "tanh")(h), layers.Dense(3, "softmax")(h)])

    return functional(call)


def same_layer_twice():
    dense = layers.Dense(8, "tanh")
    return functional(lambda z: layers.Concatenate()([dense(z), dense(dense(z))]))


def same_values_twice():
    def call(z):
        h = layers.Dense(3)(z)
        return layers.Concatenate()([ops.tanh(h), ops.sigmoid(h)])

    return functional(call)


def in_two_inputs():
    a, b = keras.Input((3,)), keras.Input((2,))
    both = layers.Concatenate()([a, b])
    inner = keras.Model([a, b], layers.Dense(2, "sigmoid")(both), name="inner")
    return functional(lambda z: inner([layers.Dense(3)(z), layers.Dense(2)(z)]))


def in_two_models():
    pixels = layers.Dense(48), layers.Reshape((4, 4, 3)), layers.Activation("sigmoid")
    inner = keras.Sequential([layers.Input((5,)), *pixels, layers.Cropping2D(1)])
    return sequential(sequential(layers.Dense(5), inner), layers.UpSampling2D())


def over_time(layer):
    return sequential(layers.Dense(96), layers.Reshape((2, 4, 4, 3)), layers.TimeDistributed(layer))


def gradient_layer_at_the_end():
    critic = kgl.models.mlp_critic((4,), units=4, depth=1)
    return sequential(layers.Dense(4), kgl.layers.GradientLayer(critic, 0.1))


# generators, and the range that samples stay in however far a gradient layer goes
TOP = {
    "activation layer": (lambda: sequential(layers.Dense(4), layers.Activation("tanh")), -1, 1),
    "fused": (lambda: sequential(layers.Dense(4, "sigmoid")), 0, 1),
    "fused, then reshaped": (
        lambda: sequential(layers.Dense(4, "sigmoid"), layers.Reshape((2, 2))),
        *(0, 1),
    ),
    "between reshapes": (
        lambda: sequential(
            layers.Dense(4), layers.Reshape((2, 2)), layers.Activation("tanh"), layers.Flatten()
        ),
        *(-1, 1),
    ),
    "fused convolution": (
        lambda: sequential(
            layers.Dense(32),
            layers.Reshape((4, 4, 2)),
            layers.Conv2DTranspose(3, 4, 2, padding="same", activation="sigmoid"),
        ),
        *(0, 1),
    ),
    "separable convolution": (
        lambda: image("relu", layers.SeparableConv2D(2, 3, activation="tanh")),
        *(-1, 1),
    ),
    "of the input": (lambda: sequential(layers.Activation("tanh")), -1, 1),
    "operation": (lambda: as_operation(ops.sigmoid), 0, 1),
    "operation with an underscore": (lambda: as_operation(ops.hard_sigmoid), 0, 1),
    "function": (lambda: as_operation(keras.activations.sigmoid), 0, 1),
    "operation, sliced": (lambda: as_operation(lambda x: ops.sigmoid(x)[:, None, :2]), 0, 1),
    "operation, swapped": (
        lambda: as_operation(lambda x: ops.concatenate(ops.split(ops.tanh(x), 2, -1)[::-1], -1)),
        *(-1, 1),
    ),
    "cropped": (lambda: image("sigmoid", layers.Cropping2D(1)), 0, 1),
    "cropped to the center": (lambda: image("sigmoid", layers.CenterCrop(2, 2)), 0, 1),
    "padded": (lambda: image("tanh", layers.ZeroPadding2D(1)), -1, 1),
    "upsampled": (lambda: image("tanh", layers.UpSampling2D()), -1, 1),
    "interpolated": (lambda: image("sigmoid", layers.UpSampling2D(interpolation="bilinear")), 0, 1),
    "resized": (lambda: image("sigmoid", layers.Resizing(7, 6)), 0, 1),
    "mean of pixels": (lambda: image("tanh", layers.AveragePooling2D(2)), -1, 1),
    "greatest of pixels": (lambda: image("sigmoid", layers.GlobalMaxPooling2D()), 0, 1),
    "grey levels": (lambda: image("tanh", layers.Rescaling(127.5, 127.5)), 0, 255),
    "negative": (lambda: image("tanh", layers.Rescaling(-0.5, 0.5), layers.Cropping2D(1)), 0, 1),
    "linear cast": (lambda: image("tanh", layers.Activation("linear", dtype="float32")), -1, 1),
    "relu": (lambda: sequential(layers.Dense(4, "relu"), layers.Dropout(0.5)), 0, INF),
    "relu up to 6": (lambda: sequential(layers.Dense(4), layers.ReLU(max_value=6)), 0, 6),
    "elu": (lambda: sequential(layers.Dense(4), layers.ELU()), -1, INF),
    "leaky relu": (lambda: sequential(layers.Dense(4), layers.LeakyReLU()), -INF, INF),
    "softsign": (lambda: sequential(layers.Dense(4, "softsign")), -1, 1),
    "softmax": (lambda: sequential(layers.Dense(4), layers.Softmax()), 0, 1),
    "branches": (table, -1, 1),
    "one branch of two": (
        lambda: functional(lambda z: layers.Concatenate()([z, layers.Dense(2, "tanh")(z)])),
        *(-INF, INF),
    ),
    "one layer, called twice": (same_layer_twice, -1, 1),
    "two activations of the same": (same_values_twice, -1, 1),
    "inner model": (lambda: sequential(sequential(layers.Dense(4, "tanh"))), -1, 1),
    "inner models": (in_two_models, 0, 1),
    "inner model of two inputs": (in_two_inputs, 0, 1),
    "over time": (lambda: over_time(layers.Conv2D(2, 3, activation="sigmoid")), 0, 1),
    "over time, a model": (
        lambda: over_time(
            keras.Sequential([layers.Input((4, 4, 3)), layers.ReLU(6), layers.Cropping2D(1)])
        ),
        *(0, 6),
    ),
    "skip connection below": (residual, -1, 1),
    "skip connection at the end": (
        lambda: functional(lambda z: layers.Add()([z, layers.Dense(8, "relu")(z)])),
        *(-INF, INF),
    ),
    "dcgan": (lambda: kgl.models.dcgan_generator((8, 8, 3), latent_dim=8, width=2), -1, 1),
    "none": (lambda: sequential(layers.Dense(4)), -INF, INF),
    "none, reshaped": (lambda: sequential(layers.Dense(4), layers.Reshape((2, 2))), -INF, INF),
    "none, scaled": (lambda: as_operation(lambda x: 2 * x - 1), -INF, INF),
    "none, normalized": (
        lambda: sequential(layers.Dense(4), layers.BatchNormalization()),
        *(-INF, INF),
    ),
    "none, wrapped": (
        lambda: sequential(layers.SpectralNormalization(layers.Dense(4))),
        *(-INF, INF),
    ),
    "none, over time": (lambda: over_time(layers.Dense(2)), -INF, INF),
    "none, a gradient layer": (gradient_layer_at_the_end, -INF, INF),
}


@pytest.mark.parametrize("name", TOP)
def test_split_top(name):
    make, low, high = TOP[name]
    generator = make()
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 8)).astype("float32")
    expected = generator(z, training=False)
    config, outputs = generator.get_config(), [x.output for x in generator.layers]
    for _ in range(2):  # cutting leaves the generator as it was
        base, head = kgl.models.split(generator, "top")
        between = base(z, training=False)
        np.testing.assert_allclose(head(between, training=False), expected, atol=1e-6)
        np.testing.assert_array_equal(generator(z, training=False), expected)
    assert generator.get_config() == config
    assert all(x.output is y for x, y in zip(generator.layers, outputs, strict=True))
    assert (base.name, head.name) == ("base", "head")
    # A huge step before the head, and samples reach the ends of the range but do not leave it.
    moved = np.asarray(head(between + 1e4 * rng.normal(size=between.shape), training=False))
    assert low - 1e-5 * abs(low) <= moved.min()
    assert moved.max() <= high + 1e-5 * abs(high)
    assert moved.max() > min(high, 1e2) * 0.99
    assert output_range(generator) == pytest.approx((low, high), abs=1e-6)
    for part in (base, head):
        again = type(part).from_config(part.get_config())
        assert again.output_shape == part.output_shape


@pytest.mark.parametrize("name", ["branches", "inner models", "of the input", "none"])
def test_parts_are_saved(name, tmp_path):
    z = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    base, head = kgl.models.split(TOP[name][0]())
    for part, x in (base, z), (head, base(z)):
        part.save(tmp_path / "part.keras")
        loaded = keras.saving.load_model(tmp_path / "part.keras")
        np.testing.assert_allclose(loaded(x), part(x), atol=1e-6)


def test_parts_share_the_weights():
    generator = sequential(layers.Dense(6, "relu"), layers.Dense(4, "tanh"))
    first, last = generator.layers
    base, _ = kgl.models.split(generator)
    assert first.kernel is base.layers[1].kernel
    assert last.kernel is not base.layers[2].kernel  # the copy without its activation
    base, head = kgl.models.split(generator, first.name)
    assert first.kernel is base.layers[-1].kernel
    assert last.kernel is head.layers[-1].kernel


def test_branches_lie_side_by_side():
    generator = table()
    z = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    base, head = kgl.models.split(generator)
    between = np.asarray(base(z))
    numbers, category = np.split(between, [2], axis=1)
    expected = [np.tanh(numbers), np.exp(category) / np.exp(category).sum(1, keepdims=True)]
    np.testing.assert_allclose(generator(z), np.concatenate(expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(head(between), generator(z), atol=1e-6)


class Free(keras.Model):
    def call(self, z):
        return ops.tanh(z)


class Own(layers.Layer):
    def call(self, x):
        return ops.tanh(x)


class OwnDense(layers.Dense):
    def call(self, x):
        return ops.tanh(super().call(x))


def two_outputs():
    x = keras.Input((8,))
    return keras.Model(x, [layers.Dense(2, "tanh")(x), layers.Dense(2)(x)], name="two")


def sequence(*stack):
    return sequential(layers.Reshape((4, 2)), *stack)


# generators whose ends may hide an activation, and the layer that the error names
HIDDEN = {
    "Lambda": lambda name: sequential(layers.Lambda(lambda x: x, output_shape=(8,), name=name)),
    "GRU": lambda name: sequence(layers.GRU(3, name=name)),
    "LSTM": lambda name: sequence(layers.LSTM(3, return_sequences=True, name=name)),
    "Bidirectional": lambda name: sequence(layers.Bidirectional(layers.LSTM(3), name=name)),
    "SpectralNormalization": lambda name: sequential(
        layers.SpectralNormalization(layers.Dense(4, "tanh"), name=name)
    ),
    "TimeDistributed": lambda name: sequence(layers.TimeDistributed(layers.ReLU(6), name=name)),
    "Multiply": lambda name: functional(
        lambda z: layers.Multiply(name=name)([layers.Dense(2, "tanh")(z) for _ in range(2)])
    ),
    "Own": lambda name: sequential(Own(name=name)),
    "OwnDense": lambda name: sequential(OwnDense(3, name=name)),
    "Free": lambda name: sequential(Free(name=name)),
    "Sequential": lambda name: sequential(sequential(Own(), name=name)),
    "Functional": lambda name: functional(
        lambda z: (
            keras.Model(two.input, two.output, name=name)(z)[0] if (two := two_outputs()) else z
        )
    ),
    "GRU, reversed": lambda name: functional(
        lambda z: layers.GRU(3, name=name)(layers.Reshape((4, 2))(z))[:, ::-1]
    ),
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_an_activation_may_be_hidden(kind):
    generator = HIDDEN[kind]("last")
    pattern = f"ends with the {kind.split(',')[0]} 'last', which may or .*`output_activation`"
    with pytest.raises(ValueError, match=pattern):
        kgl.models.split(generator)
    assert output_range(generator) == (-INF, INF)
    base, head = cut(generator, "top", kgl.latents.Gaussian((8,)), None)
    assert base is generator
    samples = base(np.ones((2, 8)))
    np.testing.assert_array_equal(head(samples), samples)


def test_operations_that_bound():
    with pytest.raises(ValueError, match="may not be an output activation.*`output_activ"):
        kgl.models.split(as_operation(lambda x: ops.clip(x, -1, 1)))
    # moved and scaled by constants, an activation is still seen
    generator = as_operation(lambda x: 2 * ops.sigmoid(x) - 1)
    assert output_range(generator) == (-1, 1)
    base, head = kgl.models.split(generator)
    z = np.random.default_rng(0).normal(size=(5, *generator.input_shape[1:]))
    np.testing.assert_allclose(head(base(z)), generator(z), atol=1e-6)


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


def test_split_after_the_last_call_of_a_layer():
    dense = layers.Dense(8, "relu", name="dense")
    generator = functional(lambda z: layers.Dense(2, "tanh")(dense(dense(z))))
    z = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    base, head = kgl.models.split(generator, "dense")
    np.testing.assert_array_equal(base(z), dense(dense(z)))
    np.testing.assert_allclose(head(base(z)), generator(z), atol=1e-6)


@pytest.mark.parametrize("insert", ["last", "up"])
def test_layers_behind_the_output_activation(insert):
    stack = layers.Dense(48, "tanh", name="last"), layers.Reshape((4, 4, 3), name="shape")
    generator = sequential(
        layers.Dense(4, "tanh", name="first"), *stack, layers.UpSampling2D(name="up")
    )
    with pytest.warns(UserWarning, match=f"insert='{insert}' puts gradient layers behind the out"):
        base, head = kgl.models.split(generator, insert)
    assert np.max(head(5 * np.ones((1, *base.output_shape[1:])))) == 5
    kgl.models.split(generator, "first")  # without a warning: more follows


def test_split_errors(recwarn):
    with pytest.raises(ValueError, match="'top', 'bottom' or the name of a layer.*a, b, c.*'d'"):
        kgl.models.split(residual(), "d")
    with pytest.raises(ValueError, match="'residual' cannot be cut after 'a': later layers need"):
        kgl.models.split(residual(), "a")
    with pytest.raises(ValueError, match="Only a built Functional or Sequential generator.*Free"):
        kgl.models.split(Free(name="free"))
    with pytest.raises(ValueError, match="Only a built Functional or Sequential generator.*Sequen"):
        kgl.models.split(keras.Sequential([layers.Dense(2, "tanh")]))
    whole, part, flat = image("tanh"), image("tanh", layers.Dense(2, "tanh")), layers.Flatten()
    branches = functional(lambda z: layers.Concatenate()([flat(whole(z)), flat(part(z))]))
    assert kgl.models.split(branches)[0].output_shape == (None, 4, 4, 5)
    branches = functional(lambda z: layers.Concatenate()([flat(whole(z)), layers.ReLU(1)(z)]))
    said = r"\(None, 4, 4, 3\), \(None, 8\), which do not go into one tensor"
    with pytest.raises(ValueError, match=said):
        kgl.models.split(branches)
    assert not recwarn


@pytest.mark.parametrize("insert", ["top", "bottom", "layer"])
def test_several_inputs_or_outputs(insert):
    latent = kgl.latents.Gaussian((8,))
    a, b = keras.Input((8,)), keras.Input((1,))
    conditional = keras.Model([a, b], layers.Concatenate()([a, b]), name="conditional")
    said = "one input and one output. Received: 'two' with 1 input.s. and 2 output.s."
    with pytest.raises(ValueError, match=said):
        kgl.models.split(two_outputs(), insert)
    with pytest.raises(ValueError, match=said):
        cut(two_outputs(), insert, latent, "auto" if insert != "top" else "tanh")
    if insert != "layer":  # a conditional generator is cut as others are
        base, head = kgl.models.split(conditional, insert)
        z, c = keras.ops.ones((3, 8)), keras.ops.zeros((3, 1))
        x = base([z, c]) if insert == "top" else [base(z), c]
        np.testing.assert_array_equal(head(x), conditional([z, c]))


@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", ["activation layer", "fused", "branches", "inner model", "none"])
def test_parts_have_the_precision_of_the_generator(policy, name):
    keras.config.set_dtype_policy(policy)
    generator = TOP[name][0]()
    keras.config.set_dtype_policy("float32")
    z = np.random.default_rng(0).normal(size=(5, 8))
    latent, expected = kgl.latents.Gaussian((8,)), generator(z)
    for insert in ("top", "bottom"):
        base, head = cut(generator, insert, latent, "auto")
        found = head(base(z))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    if policy == "float64":
        base, head = cut(generator, "top", latent, "tanh")
        np.testing.assert_allclose(head(base(z)), np.tanh(expected), atol=1e-15)
    assert keras.config.dtype_policy().name == "float32"
