"""Where gradient layers go by default."""

import keras
from keras import layers

import keras_gradlayer as kgl
from keras_gradlayer.models.splitting import place_of


def test_where_layers_go_by_default():
    """The feature map before the output layer of a convolutional generator, else the top."""
    for shape, place in (((32, 32, 3), "conv2d_transpose_1"), ((28, 28, 1), "conv2d_transpose")):
        keras.utils.clear_session(free_memory=False)
        generator = kgl.models.dcgan_generator(shape, width=2)
        tuner = kgl.FineTuner(generator, kgl.models.dcgan_critic(shape, width=2))
        assert tuner.insert == place
        assert kgl.FineTuner(generator, kgl.models.dcgan_critic(shape, width=2), insert="top")
    assert kgl.FineTuner(None, kgl.models.mlp_critic((2,))).insert == "top"
    z = keras.Input((4,))
    x = layers.Reshape((4, 4, 1))(layers.Dense(16)(z))
    a = layers.Conv2D(2, 3, padding="same", name="a")(layers.UpSampling2D(name="up")(x))
    b = layers.Conv2D(2, 3, padding="same", name="b")(a)  # beside a: all passes through their sum
    out = layers.Conv2D(1, 3, padding="same", activation="tanh")(layers.Add(name="sum")([a, b]))
    assert place_of(keras.Model(z, out)) == "a"
