"""Folders and versions, models that are refused, disks that fill up, and kills."""

import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer.serving import exporting
from keras_gradlayer.serving.versions import find_version
from tests.serving.conftest import answers, perturb, toy_tuner
from tests.serving.test_signatures import ATOL, SEEDS, files


def small():
    return keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2, "tanh")])


def test_versions(tmp_path):
    model, path = small(), tmp_path / "new" / "sampler"
    assert kgl.serving.export_sampler(model, path) == path / "1"
    assert kgl.serving.export_sampler(model, str(path)) == path / "2"
    assert kgl.serving.export_sampler(model, path, version=20) == path / "20"
    assert kgl.serving.export_sampler(model, path) == path / "21"
    assert kgl.serving.export_sampler(model, path, version=3) == path / "3"
    assert find_version(path) == path / "21"
    assert find_version(path / "2") == path / "2"
    before = files(path)
    with pytest.raises(ValueError, match="Version 3 exists and is not written over.*is 22"):
        kgl.serving.export_sampler(model, path, version=3)
    for bad in (0, -1, "3", 1.5):
        with pytest.raises(ValueError, match="`version` must be an integer of at least 1"):
            kgl.serving.export_sampler(model, path, version=bad)
    assert files(path) == before
    assert oct(path.stat().st_mode) == oct((path / "1").stat().st_mode)  # others may read it


def test_paths_that_are_no_model_folder(tmp_path):
    model = small()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="Received the file"):
        kgl.serving.export_sampler(model, tmp_path / "file")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("mine")
    with pytest.raises(ValueError, match="numbered versions of a model.*which holds cat.png"):
        kgl.serving.export_sampler(model, tmp_path / "photos")
    folder = kgl.serving.export_sampler(model, tmp_path / "m")
    with pytest.raises(ValueError, match="numbered versions"):
        kgl.serving.export_sampler(model, folder)  # a version instead of the model folder
    assert (tmp_path / "photos" / "cat.png").read_text() == "mine"
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["cat.png"]
    for path, said in ((tmp_path / "none", "does not exist"), (tmp_path / "photos", "holds none")):
        with pytest.raises(ValueError, match=said):
            find_version(path)
    for path in ("gs://bucket/sampler", "s3://bucket/m", pathlib.Path("gs://bucket/sampler")):
        with pytest.raises(ValueError, match="Expected a folder on this machine"):
            kgl.serving.export_sampler(model, path)
    (tmp_path / "empty").mkdir()
    assert kgl.serving.export_sampler(model, tmp_path / "empty").name == "1"


def test_bad_arguments(tmp_path, toy):
    path = tmp_path / "m"
    with pytest.raises(TypeError, match="`model` must be a FineTuner, a GAN or another Keras"):
        kgl.serving.export_sampler(lambda z: z, path)
    with pytest.raises(ValueError, match="`latent` is for Keras models that have none"):
        kgl.serving.export_sampler(toy[0], path, latent=kgl.latents.Uniform((2,)))
    with pytest.raises(TypeError, match="`latent` must be a distribution"):
        kgl.serving.export_sampler(small(), path, latent="normal")
    with pytest.raises(ValueError, match=r"does not take latents of shape \(3,\)"):
        kgl.serving.export_sampler(small(), path, latent=kgl.latents.Gaussian((3,)))
    z = keras.Input((2,))
    with pytest.raises(ValueError, match="Expected a model of one output"):
        kgl.serving.export_sampler(keras.Model(z, {"a": z + 1, "b": z}), path)
    for bad in ((1, -1), (0, np.inf), 3, (0, 0)):
        with pytest.raises(ValueError, match="`data_range` must be two finite numbers"):
            kgl.serving.export_sampler(small(), path, data_range=bad)
    with pytest.raises(ValueError, match="`scores` must be finite"):
        kgl.serving.export_sampler(small(), path, scores={"fid": float("nan")})
    for bad in ((), (8, 1), (1, 1), (0, 1), (1.5,), range(1, 400)):
        with pytest.raises(ValueError, match="`allowed_batch_sizes` must be"):
            kgl.serving.export_sampler(small(), path, allowed_batch_sizes=bad)
    assert not path.exists()


def test_other_resources(tmp_path):
    class Table(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            keys = tf.lookup.KeyValueTensorInitializer([0], [1.0])
            object.__setattr__(self, "table", tf.lookup.StaticHashTable(keys, 0.0))

        def call(self, x):
            return x + self.table.lookup(tf.zeros(tf.shape(x), "int32"))

    model = keras.Sequential([keras.layers.Input((2,)), Table()])
    with pytest.raises(ValueError, match="with variables alone. Received one with another res"):
        kgl.serving.export_sampler(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_generators_of_any_size(tmp_path):
    """Latents that are images, of a size that only the latent distribution knows."""
    generator = keras.Sequential(
        [
            keras.layers.Input((None, None, 4)),
            keras.layers.Conv2D(3, 3, padding="same", activation="tanh"),
        ]
    )
    latent = kgl.latents.Gaussian((8, 8, 4))
    critic = kgl.models.dcgan_critic((8, 8, 3), width=2)
    tuner = perturb(kgl.FineTuner(generator, critic, 0.1, latent=latent, max_layers=2), 2)
    assert tuner.output_range() == (-1, 1)
    served = answers(kgl.serving.export_sampler(tuner, tmp_path / "m"))
    assert "image" in served
    np.testing.assert_allclose(
        served["sample"](seed=tf.constant(SEEDS[:3]))["samples"],
        tuner(latent.sample_rows(SEEDS[:3])),
        atol=1e-5,
    )


def test_never_trained(tmp_path):
    tuner = toy_tuner(0)
    with pytest.warns(UserWarning, match="no gradient layers: what is exported is the generator"):
        folder = kgl.serving.export_sampler(tuner, tmp_path / "m")
    served, z = answers(folder), tuner.latent.sample_rows(SEEDS)
    samples = served["serving_default"](latent=z)["samples"]
    np.testing.assert_allclose(samples, np.tanh(z), atol=ATOL)
    np.testing.assert_allclose(
        served["score"](samples=samples)["score"], tuner.critic(samples)[:, 0], atol=ATOL
    )


def test_models_that_would_not_work_are_not_exported(tmp_path):
    """Nothing is left behind, and each error says why."""

    def model(f):
        return keras.Sequential([keras.layers.Input((2,)), f])

    class Python(keras.layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.py_function(lambda x: x, [x], "float32"), x.shape)

    class Compiled(keras.layers.Layer):
        def call(self, x):
            return tf.function(lambda x: 2 * x, jit_compile=True)(x)

    class Batch(keras.layers.Layer):
        def call(self, x):
            return x - tf.reduce_mean(x, axis=0)

    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    class Nan(keras.layers.Layer):
        def call(self, x):
            return x / 0.0

    for layer, why in (
        (Python(), "calls Python"),
        (Compiled(), "compiled by XLA"),
        (Batch(), "rows depend on the rows beside them"),
        (Noise(), "answers the same request differently"),
        (Nan(), "not finite"),
    ):
        with pytest.raises(ValueError, match=f"would not work.*{why}"):
            kgl.serving.export_sampler(model(layer), tmp_path / "a" / "b")
        assert not (tmp_path / "a").exists()


def test_a_disk_that_fills_up(tmp_path):
    """Each limit stops the writing at another file; nothing of it is left."""
    path = tmp_path / "models" / "m"
    code = f"""
import resource, signal, sys
import keras_gradlayer as kgl
from tests.serving.conftest import image_gan
gan = image_gan()
kgl.serving.export_sampler(gan, {str(path)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (100, 2_000, 30_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        kgl.serving.export_sampler(gan, {str(path)!r})
    except OSError as e:
        print("refused", limit, e)
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.count("refused") == 3, result.stdout + result.stderr
    assert [p.name for p in path.iterdir()] == ["1"]
    assert not [f for f in kgl.serving.verify(path) if f.breaks]


def test_leftovers_of_killed_exports_go_after_a_day(tmp_path):
    for name, age in ((".draft-old", 2 * 86400), (".draft-new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_text("half")
        os.utime(tmp_path / name, times=(time.time() - age,) * 2)
    kgl.serving.export_sampler(small(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".draft-new", "1"]


def test_two_exports_at_the_same_time(tmp_path, monkeypatch):
    """The number is chosen when the folder is complete: none is lost, none written over."""
    rename = pathlib.Path.rename

    def overtaken(draft, target):
        monkeypatch.setattr(pathlib.Path, "rename", rename)
        shutil.copytree(draft, target)
        return rename(draft, target)

    monkeypatch.setattr(pathlib.Path, "rename", overtaken)
    assert kgl.serving.export_sampler(small(), tmp_path / "m").name == "2"
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2"]
    monkeypatch.setattr(pathlib.Path, "rename", overtaken)
    with pytest.raises(ValueError, match="Version 7 exists"):
        kgl.serving.export_sampler(small(), tmp_path / "m", version=7)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2", "7"]


def killed(path, moment):
    """An export that kills itself before one of its steps, or after the last."""
    steps = {
        "saved_model": (exporting, "_save"),
        "warm-up requests": (exporting, "write_warmup"),
        "verification": (exporting, "verify"),
        "rename": (pathlib.Path, "rename"),
    }
    if moment != "end":
        setattr(*steps[moment], lambda *args: os.kill(os.getpid(), signal.SIGKILL))
    kgl.serving.export_sampler(small(), path)
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_exports(tmp_path):
    """No version is there in part, the old one is whole, and the next export is as usual."""
    context = multiprocessing.get_context("forkserver")  # which imports TensorFlow once
    context.set_forkserver_preload(["keras_gradlayer.serving"])
    path = tmp_path / "m"
    kgl.serving.export_sampler(small(), path)
    old = files(path / "1")
    moments = ("saved_model", "warm-up requests", "verification", "rename", "end")
    processes = [context.Process(target=killed, args=(path, moment)) for moment in moments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert sorted(p.name for p in path.iterdir() if p.name.isdecimal()) == ["1", "2"]
    assert sum(p.name.startswith(".draft-") for p in path.iterdir()) == 4
    assert files(path / "1") == old
    assert set(files(path / "2")) == set(old)
    assert not [f for f in kgl.serving.verify(path / "2") if f.breaks]
    assert kgl.serving.export_sampler(small(), path).name == "3"
