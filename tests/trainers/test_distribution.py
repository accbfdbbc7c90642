"""Training on several replicas ends where training on one device ends."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests import oracles

RUN = pathlib.Path(__file__).with_name("distributed_run.py")


def start(*arguments, **environment):
    """A run in a process of its own: logical devices are made before TensorFlow starts."""
    return subprocess.Popen(
        [sys.executable, str(RUN), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(RUN.parents[2]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    for process in processes:
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text


def workers(trainers, folder, *last, backup=None):
    """Two workers over loopback; `last` is for the second alone."""
    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            ports.append(s.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = []
    for i in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": i}}
        environment = {"TF_CONFIG": json.dumps(task)}
        if backup:
            environment["BACKUP"] = str(backup / str(i))
        arguments = ("workers", folder / str(i), trainers, *(last if i else ()))
        processes.append(start(*arguments, **environment))
    return processes


def assert_same(found, expected, epochs=3):
    """Weights, history and logs; the same sums in another order, three epochs long."""
    found, expected = np.load(found), np.load(expected)
    assert set(found.files) == set(expected.files)
    for name in expected.files:
        last = expected[name][-epochs:] if name.startswith("log") else expected[name]
        np.testing.assert_allclose(found[name], last, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    finish(start("one", folder, "tuner,exact,gan"))
    tuner, exact = np.load(folder / "tuner.npz"), np.load(folder / "exact.npz")
    assert not np.allclose(tuner["history 0"], exact["history 0"], atol=1e-3)
    return folder


def test_two_replicas(one_device, tmp_path):
    """MirroredStrategy on two logical CPUs; the history is checked to be equal on both."""
    finish(start("mirrored", tmp_path, "tuner,exact,gan"))
    for trainer in ("tuner", "exact", "gan"):
        assert_same(tmp_path / f"{trainer}.npz", one_device / f"{trainer}.npz")


def test_two_workers(one_device, tmp_path):
    finish(*workers("tuner,gan", tmp_path))
    for i in range(2):
        for trainer in ("tuner", "gan"):
            assert_same(tmp_path / f"{i}/{trainer}.npz", one_device / f"{trainer}.npz")


def test_a_killed_worker(one_device, tmp_path):
    """One of two workers dies in the third epoch: both go on from the second layer."""
    first, second = workers("tuner", tmp_path, 2, backup=tmp_path / "backup")
    text, _ = second.communicate(timeout=600)
    assert second.returncode == 9, text
    first.kill()  # it would wait for the other
    first.communicate()
    assert not list(tmp_path.rglob("*.npz"))
    finish(*workers("tuner", tmp_path, backup=tmp_path / "backup"))
    for i in range(2):
        found = tmp_path / f"{i}/tuner.npz"
        assert len(np.load(found)["log layers"]) == 1  # the third epoch alone
        assert_same(found, one_device / "tuner.npz", epochs=1)


def test_batches_that_cannot_be_shared():
    from keras_gradlayer.trainers import _data

    def data(size, drop):
        return tf.data.Dataset.from_tensor_slices(oracles.points(64)).batch(size, drop)

    _data.check_shares(data(16, True), 2)
    _data.check_shares(data(15, False), 1)
    with pytest.raises(ValueError, match="a multiple of 2.*Received: a batch size of 15"):
        _data.check_shares(data(15, True), 2)
    with pytest.raises(ValueError, match="Received: batches of unknown size"):
        _data.check_shares(data(16, False), 2)


def test_trainers_whose_steps_are_not_sums(monkeypatch):
    monkeypatch.setattr(kgl.UnrolledGAN, "replicas", 2)
    generator = kgl.models.dcgan_generator((8, 8, 3), latent_dim=4, width=2)
    gan = kgl.UnrolledGAN(generator, kgl.models.dcgan_critic((8, 8, 3), width=2))
    with pytest.raises(ValueError, match="UnrolledGAN trains on one device.*2 replicas"):
        gan.compile()
    monkeypatch.setattr(kgl.GAN, "replicas", 2)
    gan = kgl.GAN(generator, kgl.models.dcgan_critic((8, 8, 3), width=2))
    with pytest.raises(ValueError, match="needs the gradient of the whole batch.*Received: 2"):
        kgl.callbacks.GeneratorGradientRegularizer(0.5).set_model(gan)
