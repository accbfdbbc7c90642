"""A missing data set is downloaded, or one error says what to do and nothing is left."""

import functools
import pathlib
import re
import time

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

import keras_gradlayer as kgl
from keras_gradlayer.data import _downloading
from tests.commands.commandline import run

SAID = "There is no mnist in {}, and it could not be downloaded: {}.*`tfds build mnist.*TFDS_DATA_D"


@pytest.fixture
def builder():
    return tfds.core.DatasetBuilder


def head(url, timeout):
    """A server that answers."""
    assert timeout == 5
    assert url.startswith("https://storage.googleapis.com/")
    return requests.Response()


def test_no_network(tmp_path, monkeypatch, capsys):
    """At once, in one line, with no folder left: not where the data would be, nor the run's."""

    def unreachable(url, timeout):
        raise requests.ConnectTimeout("it took too long")

    monkeypatch.setattr(requests, "head", unreachable)
    where = tmp_path / "deep" / "data"
    start = time.monotonic()
    for load in (kgl.data.mnist, kgl.data.stacked_mnist):
        said = SAID.format(where, "storage.googleapis.com cannot be reached: it took too long")
        with pytest.raises(FileNotFoundError, match=said):
            load(data_dir=where)
    assert time.monotonic() - start < 20  # TFDS alone asks again for minutes
    assert list(tmp_path.iterdir()) == []
    mnist = functools.partial(kgl.data.mnist, data_dir=where)  # TFDS reads its variable at import
    monkeypatch.setattr(kgl.data, "mnist", mnist)
    kgl.models.dcgan_critic((28, 28, 1), width=2).save(tmp_path / "c.keras")
    kgl.models.dcgan_generator((28, 28, 1), latent_dim=2, width=2).save(tmp_path / "g.keras")
    gan = ["--generator", tmp_path / "g.keras", "--critic", tmp_path / "c.keras"]
    for args in (
        ["finetune", "--data", "mnist", *gan, "--out", tmp_path / "out"],
        ["train", "--data", "mnist", "--out", tmp_path / "out"],
    ):
        status, _, err = run(capsys, *args)
        assert status == 2
        [line] = [x for x in err.splitlines() if "keras-gradlayer:" in x]
        assert "There is no mnist in" in line
    assert {p.name for p in tmp_path.iterdir()} == {"c.keras", "g.keras"}


def test_a_download_that_fails(tmp_path, monkeypatch, builder):
    """What was begun goes, and what others have there stays."""
    monkeypatch.setattr(requests, "head", head)
    seen = []

    def broken(self, download_dir):
        pathlib.Path(download_dir, "part").write_bytes(bytes(100))
        pathlib.Path(self.data_dir_root, "mnist").mkdir()
        seen.append(download_dir)
        raise OSError("No space left on device")

    monkeypatch.setattr(builder, "download_and_prepare", broken)
    where = tmp_path / "data"
    with pytest.raises(FileNotFoundError, match=SAID.format(where, "No space left on device")):
        kgl.data.mnist(data_dir=where)
    assert list(tmp_path.iterdir()) == []
    (where / "cifar10").mkdir(parents=True)
    (where / "downloads" / "mnist").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        kgl.data.mnist(data_dir=where)
    assert sorted(p.name for p in where.rglob("*")) == ["cifar10", "downloads", "mnist"]
    assert len(set(seen)) == 2

    def stopped(self, download_dir):
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "download_and_prepare", stopped)
    with pytest.raises(KeyboardInterrupt):
        kgl.data.mnist(data_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_download_that_comes(tmp_path, monkeypatch, real_data):
    """Once: what was downloaded is read, and the second time nobody is asked."""
    monkeypatch.setattr(requests, "head", head)
    calls = []

    def download(self, download_dir):
        calls.append(download_dir)
        pathlib.Path(self.data_dir_root, "mnist").symlink_to(pathlib.Path(real_data, "mnist"))
        self.info.read_from_directory(self.data_dir)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    found = [
        next(iter(kgl.data.mnist("test[:8]", batch_size=8, shuffle=False, data_dir=path)))
        for path in (tmp_path / "data", tmp_path / "data", real_data)
    ]
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])
    assert len(calls) == 1
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["mnist"]


def test_a_wrong_split_is_no_missing_data_set(monkeypatch, real_data):
    monkeypatch.setattr(requests, "head", None)
    for split in ("tset", "test[5:2]"):
        with pytest.raises(ValueError, match=re.escape(f"split={split!r}")):
            kgl.data.mnist(split, data_dir=real_data)


def test_servers_that_answer(monkeypatch):
    """One of them is enough, whatever it says; what is no web address is not asked."""

    def one(url, timeout):
        if "a.example" in url:
            raise requests.ConnectionError("refused")
        return requests.Response()

    monkeypatch.setattr(requests, "head", one)
    _downloading._answering(["http://a.example/x", "https://b.example/y"])
    _downloading._answering(["ftp://a.example/x"])
    _downloading._answering([])
    with pytest.raises(ConnectionError, match="a.example cannot be reached: refused"):
        _downloading._answering(["http://a.example/x", "http://a.example/y"])
