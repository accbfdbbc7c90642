"""Small GANs of many kinds, trained by plain Keras and TensorFlow, as in public tutorials.

    python benchmarks/any_gan/train.py dcgan --seed 0 --out zoo/dcgan-seed0

writes generator.keras, critic.keras and training.json, and where the data is made here also the
files train and held_out. Nothing of this package is used.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from data import halves, images, rows, waves
from keras import layers

BATCH = 64
LATENT = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, help="Generator updates.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    KINDS[options.kind](options.out, **({"steps": options.steps} if options.steps else {}))


# Losses: of the critic from its scores of real and fake samples; of the generator.


def cross_entropy(logits):
    loss = keras.losses.BinaryCrossentropy(from_logits=logits)
    return (
        lambda real, fake: loss(tf.ones_like(real), real) + loss(tf.zeros_like(fake), fake),
        lambda fake: loss(tf.ones_like(fake), fake),
    )


HINGE = (
    lambda real, fake: tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake)),
    lambda fake: -tf.reduce_mean(fake),
)
LEAST_SQUARES = (
    lambda real, fake: tf.reduce_mean((real - 1) ** 2) / 2 + tf.reduce_mean(fake**2) / 2,
    lambda fake: tf.reduce_mean((fake - 1) ** 2) / 2,
)
WASSERSTEIN = (
    lambda real, fake: tf.reduce_mean(fake) - tf.reduce_mean(real),
    lambda fake: -tf.reduce_mean(fake),
)


def adams(rate=2e-4):
    return [keras.optimizers.Adam(rate, beta_1=0.5) for _ in range(2)]


def train(
    out,
    generator,
    critic,
    data,
    losses,
    steps,
    latent=LATENT,
    optimizers=None,
    critic_steps=1,
    clip=None,
    l1=0.0,
    classes=False,
):
    """Take turns: `critic_steps` updates of the critic, then one of the generator.

    `clip` bounds the critic's weights (WGAN), `l1` is the weight of the distance to the real sample
    (pix2pix), and `classes` says that the critic's second output tells classes (AC-GAN).
    """
    critic_loss, generator_loss = losses
    critic_optimizer, generator_optimizer = optimizers or adams()
    class_loss = keras.losses.SparseCategoricalCrossentropy()
    batches = tf.data.Dataset.from_tensor_slices(data).shuffle(60_000).repeat()
    batches = batches.batch(BATCH, drop_remainder=True).prefetch(4)

    def generate(condition):
        z = [tf.random.normal((BATCH, latent))] if latent else []
        inputs = [*z, *condition]
        return generator(inputs if len(inputs) > 1 else inputs[0], training=True)

    def judge(x, condition):
        """Scores, and the loss of the classes."""
        if classes:
            score, label = critic(x, training=True)
            return score, class_loss(condition[0], label)
        return critic([x, *condition] if condition else x, training=True), 0.0

    def update(optimizer, model, loss, tape):
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function
    def critic_step(x, *condition):
        fake = generate(condition)
        with tf.GradientTape() as tape:
            (real_score, real_class) = judge(x, condition)
            (fake_score, fake_class) = judge(fake, condition)
            loss = critic_loss(real_score, fake_score) + real_class + fake_class
        update(critic_optimizer, critic, loss, tape)
        if clip:
            for v in critic.trainable_variables:
                v.assign(tf.clip_by_value(v, -clip, clip))
        return loss

    @tf.function
    def generator_step(x, *condition):
        with tf.GradientTape() as tape:
            fake = generate(condition)
            score, label = judge(fake, condition)
            loss = generator_loss(score) + label + l1 * tf.reduce_mean(tf.abs(x - fake))
        update(generator_optimizer, generator, loss, tape)
        return loss

    record = {"steps": steps, "parameters": [generator.count_params(), critic.count_params()]}
    start, batches = time.monotonic(), iter(batches)
    for step in range(1, steps + 1):
        for _ in range(critic_steps):
            batch = next(batches)
            batch = batch if isinstance(batch, tuple) else (batch,)
            c = critic_step(*batch)
        g = generator_step(*batch)
        if step % 500 == 0 or step == steps:
            record |= {"step": step, "minutes": (time.monotonic() - start) / 60}
            print(f"{step}: {c:.3f} {g:.3f} {record['minutes']:.1f} min", flush=True)
            generator.save(out / "generator.keras")
            critic.save(out / "critic.keras")
            (out / "training.json").write_text(json.dumps(record))


# Models.


def up(x, side, widths, channels):
    """A DCGAN generator's layers: transposed convolutions, each doubling the side."""
    x = layers.Dense(side * side * widths[0], use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Reshape((side, side, widths[0]))(x)
    for width in widths[1:]:
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.LeakyReLU(0.2)(x)
    return layers.Conv2DTranspose(channels, 4, strides=2, padding="same", activation="tanh")(x)


def down(x, widths, normalize=False, dropout=0.0, wrap=lambda layer: layer):
    """A DCGAN critic's layers: strided convolutions."""
    for i, width in enumerate(widths):
        x = wrap(layers.Conv2D(width, 4, strides=2, padding="same"))(x)
        if normalize and i:
            x = layers.BatchNormalization()(x)
        x = layers.LeakyReLU(0.2)(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
    return layers.Flatten()(x)


def mnist_generator():
    z = layers.Input((LATENT,))
    return keras.Model(z, up(z, 7, [64, 32], 1), name="generator")


def mnist_critic(activation=None, **settings):
    x = layers.Input((28, 28, 1))
    score = layers.Dense(1, activation=activation)(down(x, [32, 64], **settings))
    return keras.Model(x, score, name="critic")


def class_map(label, side):
    """A class as one more channel of an image."""
    x = layers.Flatten()(layers.Embedding(10, 50)(label))
    return layers.Reshape((side, side, 1))(layers.Dense(side * side)(x))


def class_code(label):
    return layers.Flatten()(layers.Embedding(10, 50)(label))


# Kinds.


def dcgan(out, steps=4000):
    """Radford et al. (2016): batch normalization in both, a sigmoid, cross entropy."""
    critic = mnist_critic("sigmoid", normalize=True)
    train(out, mnist_generator(), critic, images("mnist")[0], cross_entropy(False), steps)


def dcgan_cifar10(out, steps=3000):
    """The same, on CIFAR-10."""
    z, x = layers.Input((LATENT,)), layers.Input((32, 32, 3))
    generator = keras.Model(z, up(z, 4, [128, 64, 32], 3))
    score = layers.Dense(1, activation="sigmoid")(down(x, [32, 64, 128], normalize=True))
    critic = keras.Model(x, score)
    train(out, generator, critic, images("cifar10")[0], cross_entropy(False), steps)


def hinge(out, steps=3000):
    """Miyato et al. (2018): spectral normalization, hinge loss."""
    critic = mnist_critic(wrap=layers.SpectralNormalization)
    train(out, mnist_generator(), critic, images("mnist")[0], HINGE, steps)


def least_squares(out, steps=3000):
    """Mao et al. (2017)."""
    critic = mnist_critic(normalize=True)
    train(out, mnist_generator(), critic, images("mnist")[0], LEAST_SQUARES, steps)


def wgan(out, steps=2500):
    """Arjovsky et al. (2017): clipped weights, RMSprop, five critic updates."""
    optimizers = [keras.optimizers.RMSprop(3e-4) for _ in range(2)]
    settings = {"optimizers": optimizers, "critic_steps": 5, "clip": 0.01}
    x = images("mnist")[0]
    train(out, mnist_generator(), mnist_critic(), x, WASSERSTEIN, steps, **settings)


def mlp(out, steps=25_000):
    """Goodfellow et al. (2014): dense layers; images in [0, 1] by the generator's sigmoid."""
    generator = keras.Sequential([layers.Input((LATENT,))])
    for width in (128, 256):
        generator.add(layers.Dense(width))
        generator.add(layers.LeakyReLU(0.2))
        generator.add(layers.BatchNormalization(momentum=0.8))
    generator.add(layers.Dense(784, activation="sigmoid"))
    generator.add(layers.Reshape((28, 28, 1)))
    critic = keras.Sequential([layers.Input((28, 28, 1)), layers.Flatten()])
    for width in (256, 128):
        critic.add(layers.Dense(width))
        critic.add(layers.LeakyReLU(0.2))
        critic.add(layers.Dropout(0.3))
    critic.add(layers.Dense(1, activation="sigmoid"))
    train(out, generator, critic, (images("mnist")[0] + 1) / 2, cross_entropy(False), steps)


def conditional(out, steps=3000):
    """Mirza & Osindero (2014) as a DCGAN: both take the class, an integer."""
    z, label, x = layers.Input((LATENT,)), layers.Input((1,), dtype="int32"), (28, 28, 1)
    fake = up(layers.Concatenate()([z, class_code(label)]), 7, [64, 32], 1)
    generator = keras.Model([z, label], fake)
    x, label = layers.Input(x), layers.Input((1,), dtype="int32")
    joint = layers.Concatenate()([x, class_map(label, 28)])
    score = layers.Dense(1, activation="sigmoid")(down(joint, [32, 64], dropout=0.3))
    critic = keras.Model([x, label], score)
    train(out, generator, critic, with_classes("mnist"), cross_entropy(False), steps)


def conditional_cifar10(out, steps=3000):
    """The same on CIFAR-10, with cross entropy on logits."""
    z, label = layers.Input((LATENT,)), layers.Input((1,), dtype="int32")
    fake = up(layers.Concatenate()([z, class_code(label)]), 4, [128, 64, 32], 3)
    generator = keras.Model([z, label], fake)
    x, label = layers.Input((32, 32, 3)), layers.Input((1,), dtype="int32")
    joint = layers.Concatenate()([x, class_map(label, 32)])
    score = layers.Dense(1)(down(joint, [32, 64, 128], dropout=0.2))
    critic = keras.Model([x, label], score)
    train(out, generator, critic, with_classes("cifar10"), cross_entropy(True), steps)


def acgan(out, steps=3000):
    """Odena et al. (2017): the critic scores, and tells classes by a second output."""
    z, label = layers.Input((LATENT,)), layers.Input((1,), dtype="int32")
    fake = up(layers.Concatenate()([z, class_code(label)]), 7, [64, 32], 1)
    generator = keras.Model([z, label], fake)
    x = layers.Input((28, 28, 1))
    features = down(x, [32, 64], dropout=0.3)
    validity = layers.Dense(1, activation="sigmoid", name="validity")(features)
    told = layers.Dense(10, activation="softmax", name="label")(features)
    critic = keras.Model(x, [validity, told])
    train(out, generator, critic, with_classes("mnist"), cross_entropy(False), steps, classes=True)


def with_classes(name):
    x, y = images(name)
    return x, y[:, None]


def pix2pix(out, steps=3000):
    """Isola et al. (2017): lower halves from upper halves, with no latent; L1 distance."""
    given = layers.Input((14, 28, 1))
    conv = {"strides": 2, "padding": "same", "use_bias": False}
    a = layers.LeakyReLU(0.2)(layers.Conv2D(32, 4, strides=(1, 2), padding="same")(given))
    b = layers.BatchNormalization()(layers.Conv2D(64, 4, **conv)(a))
    b = layers.LeakyReLU(0.2)(b)
    y = layers.Conv2D(64, 3, padding="same", activation="relu")(b)
    y = layers.BatchNormalization()(layers.Conv2DTranspose(32, 4, **conv)(y))
    y = layers.Concatenate()([layers.ReLU()(layers.Dropout(0.3)(y)), a])
    fake = layers.Conv2DTranspose(1, 4, strides=(1, 2), padding="same", activation="tanh")(y)
    generator = keras.Model(given, fake)
    x = layers.Input((14, 28, 1), name="sample")
    given = layers.Input((14, 28, 1), name="condition")  # of one shape: names tell
    joint = layers.Concatenate()([x, given])
    critic = keras.Model([x, given], layers.Dense(1)(down(joint, [32, 64], normalize=True)))
    data = save_data(out, halves("train"), halves("test"))
    train(out, generator, critic, data, cross_entropy(True), steps, latent=None, l1=10.0)


def series(out, steps=4000):
    """One-dimensional convolutions on waves."""
    z, x = layers.Input((32,)), layers.Input((64, 1))
    y = layers.Reshape((16, 32))(layers.Dense(16 * 32, activation="relu")(z))
    y = layers.BatchNormalization()(layers.Conv1DTranspose(32, 8, strides=2, padding="same")(y))
    y = layers.ReLU()(y)
    fake = layers.Conv1DTranspose(1, 8, strides=2, padding="same", activation="tanh")(y)
    y = layers.LeakyReLU(0.2)(layers.Conv1D(32, 8, strides=2, padding="same")(x))
    y = layers.LeakyReLU(0.2)(layers.Conv1D(64, 8, strides=2, padding="same")(y))
    score = layers.Dense(1, activation="sigmoid")(layers.Dropout(0.3)(layers.Flatten()(y)))
    data = save_data(out, waves(20_000, 0), waves(10_000, 1))
    models = keras.Model(z, fake), keras.Model(x, score)
    train(out, *models, data, cross_entropy(False), steps, latent=32)


def table(out, steps=12_000):
    """A table with numbers (tanh) and two categories (a softmax each)."""
    z, x = layers.Input((16,)), layers.Input((9,))
    y = layers.BatchNormalization()(layers.Dense(128, activation="relu")(z))
    y = layers.BatchNormalization()(layers.Dense(128, activation="relu")(y))
    fake = layers.Concatenate()(
        [
            layers.Dense(3, activation="tanh")(y),
            layers.Dense(4, activation="softmax")(y),
            layers.Dense(2, activation="softmax")(y),
        ]
    )
    y = layers.LeakyReLU(0.2)(layers.Dense(128)(layers.GaussianNoise(0.3)(x)))
    score = layers.Dense(1)(layers.LeakyReLU(0.2)(layers.Dense(128)(y)))
    data = save_data(out, rows(20_000, 0), rows(10_000, 1))
    models = keras.Model(z, fake), keras.Model(x, score)
    train(out, *models, data, cross_entropy(True), steps, latent=16)


def save_data(out, data, held_out):
    """Write what is handed over with the models, and pass on the training data."""
    for name, arrays in {"train": data, "held_out": held_out}.items():
        if isinstance(arrays, tuple):
            np.savez(out / f"{name}.npz", x=arrays[0], condition=arrays[1])
        else:
            np.save(out / f"{name}.npy", arrays)
    return data


KINDS = {
    f.__name__: f
    for f in (
        dcgan,
        dcgan_cifar10,
        hinge,
        least_squares,
        wgan,
        mlp,
        conditional,
        conditional_cifar10,
        acgan,
        pix2pix,
        series,
        table,
    )
}

if __name__ == "__main__":
    main()
