import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

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
def classes(tmp_path_factory):
    """A conditional image model's tuner, and its model folder."""
    keras.utils.set_random_seed(0)
    z, label = keras.Input((4,)), keras.Input((1,), dtype="int32")
    h = keras.layers.Flatten()(keras.layers.Embedding(5, 4)(label))
    h = keras.layers.Dense(48, "tanh")(keras.layers.Concatenate()([z, h]))
    generator = keras.Model([label, z], keras.layers.Reshape((4, 4, 3))(h))
    x, label = keras.Input((4, 4, 3)), keras.Input((1,), dtype="int32")
    h = keras.layers.Flatten()(keras.layers.Embedding(5, 4)(label))
    h = keras.layers.Concatenate()([keras.layers.Flatten()(x), h])
    h = keras.layers.Dense(16, "softplus")(h)
    critic = keras.Model([x, label], keras.layers.Dense(1)(h))
    tuner = perturb(kgl.FineTuner(generator, critic, 0.5, max_layers=8), 3)
    tuner.conditions.learn(np.arange(60)[:, None] % 5)
    folder = tmp_path_factory.mktemp("classes") / "sampler"
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


@contextlib.contextmanager
def model_server(folder, labels=""):
    """tensorflow_model_server, where it is installed; its (gRPC, REST) addresses."""
    if not shutil.which("tensorflow_model_server"):
        pytest.skip("tensorflow_model_server is not on PATH")
    config = pathlib.Path(folder).parent / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "sampler" base_path: "{folder}" '
        f'model_platform: "tensorflow" model_version_policy {{ all {{}} }} {labels} }} }}'
    )
    with socket.socket() as a, socket.socket() as b:
        a.bind(("localhost", 0))
        b.bind(("localhost", 0))
        ports = a.getsockname()[1], b.getsockname()[1]
    process = subprocess.Popen(
        [
            "tensorflow_model_server",
            f"--port={ports[0]}",
            f"--rest_api_port={ports[1]}",
            f"--model_config_file={config}",
            "--allow_version_labels_for_unavailable_models=true",
            "--enable_batching=true",
            "--enable_per_model_batching_parameters=true",
        ]
    )
    try:
        status = f"http://localhost:{ports[1]}/v1/models/sampler"
        for _ in range(120):
            try:
                states = json.load(urllib.request.urlopen(status))["model_version_status"]
                if all(s["state"] == "AVAILABLE" for s in states):
                    break
            except OSError:
                assert process.poll() is None
            time.sleep(1)
        yield f"grpc://localhost:{ports[0]}", f"http://localhost:{ports[1]}"
    finally:
        process.kill()
        process.wait()


def answers(folder):
    """The signatures of an exported version, as a client without this package has them."""
    return tf.saved_model.load(str(kgl.serving.versions.find_version(folder))).signatures
