"""Writes the files of Keras 2 beside it, and results.npz: inputs and what tf_keras gives for them.

python3 -m venv old && old/bin/pip install tensorflow==2.20.0 tf_keras==2.20.1
old/bin/python tests/models/old_files/make.py
"""

import pathlib
import shutil

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(0)


def dcgan_generator():
    """As in TensorFlow's DCGAN tutorial."""
    return keras.Sequential(
        [
            layers.Dense(2 * 2 * 4, use_bias=False, input_shape=(5,)),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Reshape((2, 2, 4)),
            layers.Conv2DTranspose(3, 5, strides=1, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh"),
        ],
        name="generator",
    )


def dcgan_discriminator():
    return keras.Sequential(
        [
            layers.Conv2D(4, 5, strides=2, padding="same", input_shape=(8, 8, 1)),
            layers.LeakyReLU(alpha=0.2),
            layers.Dropout(0.3),
            layers.Conv2D(4, 5, strides=2, padding="same"),
            layers.BatchNormalization(momentum=0.8),
            layers.ZeroPadding2D(((0, 1), (0, 1))),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="discriminator",
    )


def mlp():
    z = keras.Input((3,), name="z")
    x = layers.Dense(4, activation=tf.nn.leaky_relu)(z)
    x = layers.Dense(4, activation=layers.LeakyReLU(alpha=0.1))(x)
    x = layers.Dense(4, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01))(x)
    return keras.Model(z, layers.Dense(2, "tanh")(x), name="mlp")


def leaky():
    """LeakyReLU as a layer of its own, in a Functional model with a skip connection."""
    z = keras.Input((4,))
    x = layers.LeakyReLU(0.3)(layers.Dense(4)(z))
    x = layers.add([layers.PReLU()(layers.Dense(4)(x)), z])
    return keras.Model(z, layers.Activation(tf.nn.leaky_relu)(x))


def upsampling():
    return keras.Sequential(
        [
            layers.InputLayer(input_shape=(6,)),
            layers.Dense(2 * 3 * 4, activation="relu"),
            layers.Reshape((2, 3, 4)),
            layers.UpSampling2D(interpolation="bilinear"),
            layers.SeparableConv2D(3, 3, padding="same", activation="elu"),
            layers.LayerNormalization(),
            layers.Conv2D(3, 3, padding="same", activation="sigmoid"),
            layers.Cropping2D(1),
            layers.Rescaling(255.0),
        ]
    )


def conditional_generator():
    """As in public conditional GANs: the label is embedded and multiplied in."""
    z, label = keras.Input((4,), name="latent"), keras.Input((1,), dtype="int32", name="label")
    x = layers.multiply([z, layers.Flatten()(layers.Embedding(3, 4)(label))])
    return keras.Model([z, label], layers.Dense(2, "tanh")(x))


def conditional_critic():
    x, label = keras.Input((4, 4, 1)), keras.Input((1,))
    y = layers.Reshape((4, 4, 1))(layers.Dense(16)(layers.Embedding(3, 5)(label)))
    h = layers.Concatenate()([x, y])
    h = layers.GaussianNoise(0.1)(h)
    h = layers.Conv2D(3, 3, strides=2, kernel_constraint=keras.constraints.MaxNorm(2.0))(h)
    return keras.Model([x, label], layers.Dense(1)(layers.GlobalAveragePooling2D()(h)))


class ClipConstraint(keras.constraints.Constraint):
    """As in public WGANs."""

    def __init__(self, clip_value):
        self.clip_value = clip_value

    def __call__(self, weights):
        return keras.backend.clip(weights, -self.clip_value, self.clip_value)

    def get_config(self):
        return {"clip_value": self.clip_value}


def clipped():
    init = keras.initializers.RandomNormal(stddev=0.02)
    clip = ClipConstraint(0.01)
    return keras.Sequential(
        [
            layers.Conv2D(
                2, 4, padding="same", kernel_initializer=init, kernel_constraint=clip,
                input_shape=(4, 4, 1),
            ),
            layers.BatchNormalization(),
            layers.LeakyReLU(alpha=0.2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )  # fmt: skip


def combined():
    """A generator and a frozen discriminator in one, and a layer that is called twice."""
    generator = keras.Sequential(
        [layers.Dense(4, input_shape=(3,)), layers.BatchNormalization(), layers.ReLU()], name="g"
    )
    x = keras.Input((4,))
    critic = keras.Model(x, layers.Dense(1)(layers.BatchNormalization()(x)), name="d")
    critic.trainable = False
    twice = layers.Dense(4, "tanh")
    z = keras.Input((3,))
    return keras.Model(z, critic(twice(twice(generator(z)))))


def recurrent():
    x = keras.Input((5, 2))
    h = layers.LSTM(3, return_sequences=True)(x)
    h = layers.Bidirectional(layers.GRU(2, return_sequences=True))(h)
    return keras.Model(x, layers.TimeDistributed(layers.Dense(1, "tanh"))(h))


def operations():
    x = keras.Input((3,))
    return keras.Model(x, layers.Dense(2)(x) * 2.0)


def with_lambda():
    return keras.Sequential(
        [layers.Dense(2, input_shape=(3,)), layers.Lambda(lambda x: x * 2, name="double")]
    )


def hard():
    return keras.Sequential([layers.Dense(2, "hard_sigmoid", input_shape=(3,))])


class Custom(layers.Layer):
    def call(self, x):
        return x


def custom():
    return keras.Sequential([layers.Dense(2, input_shape=(3,)), Custom()])


FILES = {
    "dcgan_generator.h5": dcgan_generator,
    "dcgan_generator.keras": dcgan_generator,
    "dcgan_discriminator.h5": dcgan_discriminator,
    "dcgan_discriminator_folder": dcgan_discriminator,
    "mlp.h5": mlp,
    "mlp.keras": mlp,
    "leaky.h5": leaky,
    "upsampling.h5": upsampling,
    "conditional_generator.h5": conditional_generator,
    "conditional_generator_folder": conditional_generator,
    "conditional_critic.h5": conditional_critic,
    "clipped.h5": clipped,
    "combined.h5": combined,
    "combined.keras": combined,
    "combined_folder": combined,
    "recurrent.h5": recurrent,
    "operations.h5": operations,
    "lambda.h5": with_lambda,
    "hard_sigmoid.h5": hard,
    "custom.h5": custom,
}


def random_weights(model):
    """Other weights than the first ones: statistics and offsets that are not 0 or 1."""
    model.set_weights(
        [rng.uniform(0.1, 0.9, w.shape) - 0.4 * (w.ndim > 1) for w in model.get_weights()]
    )


def rows(spec):
    shape = (3, *spec.shape[1:])
    ids = spec.dtype == "int32" or spec.shape[1:] == (1,)
    return (
        rng.integers(0, 3, shape).astype("int32")
        if ids
        else rng.normal(size=shape).astype("float32")
    )


def main():
    results = {}
    for name, make in FILES.items():
        keras.backend.clear_session()
        model = make()
        random_weights(model)
        x = [rows(spec) for spec in model.inputs]
        for i, array in enumerate(x):
            results[f"{name}/x{i}"] = array
        results[f"{name}/y"] = model(x if len(x) > 1 else x[0], training=False).numpy()
        path = HERE / name
        shutil.rmtree(path, ignore_errors=True)
        model.save(path)
    mlp().save_weights(HERE / "weights_only.h5")
    np.savez_compressed(HERE / "results.npz", **results)


if __name__ == "__main__":
    main()
