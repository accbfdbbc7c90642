import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl

ROOT = pathlib.Path(kgl.__file__).parents[1]


def perturb(tuner, depth):
    """Stack layers whose critics differ, without training."""
    rng = np.random.default_rng(0)
    first = tuner.critic.get_weights()
    for _ in range(depth):
        noise = [0.1 * (np.std(w) + 0.01) * rng.normal(size=w.shape) for w in first]
        tuner.critic.set_weights([w + n for w, n in zip(first, noise)])
        tuner.stack.append()
    return tuner


def toy_tuner(depth=20, **kwargs):
    keras.utils.set_random_seed(0)
    critic = kgl.models.mlp_critic((2,), units=16)
    return perturb(kgl.FineTuner(None, critic, 0.1, max_layers=max(depth, 1), **kwargs), depth)


def image_gan():
    keras.utils.set_random_seed(0)
    generator = kgl.models.dcgan_generator((16, 16, 3), latent_dim=8, width=4)
    return kgl.GAN(generator, kgl.models.dcgan_critic((16, 16, 3), width=4))


def image_tuner(depth=3, insert="top", **kwargs):
    gan = image_gan()
    return perturb(
        kgl.FineTuner(gan.generator, gan.critic, 0.5, insert=insert, max_layers=8, **kwargs), depth
    )


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A toy's tuner, and its model folder."""
    tuner = toy_tuner()
    folder = tmp_path_factory.mktemp("toy") / "sampler"
    kgl.serving.export_sampler(tuner, folder)
    return tuner, folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """An image model's tuner, and its model folder, the GAN as version 1."""
    tuner = image_tuner()
    folder = tmp_path_factory.mktemp("images") / "sampler"
    kgl.serving.export_sampler(image_gan(), folder)
    kgl.serving.export_sampler(tuner, folder)
    return tuner, folder


@pytest.fixture(scope="session")
def other_process():
    """Start the test server in a process of its own; the real one where it is installed."""
    started = []

    def start(folder):
        binary = shutil.which("tensorflow_model_server")
        if binary:
            raise NotImplementedError
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.server", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        started.append(process)
        return json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()


def answers(folder):
    """The signatures of an exported version, as a client without this package has them."""
    return tf.saved_model.load(str(kgl.serving.versions.find_version(folder))).signatures
