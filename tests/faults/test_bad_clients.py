"""Clients, exports and shards refuse bad arguments, before anything is sent or written."""

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests.faults import bad_input as bad
from tests.faults.bad_input import refused, sampler, spoilt, table

nan = np.nan
serving = kgl.serving
shared = {}


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory):
    shared["folder"] = tmp_path_factory.mktemp("export") / "sampler"
    serving.export_sampler(sampler(), shared["folder"])
    shared["client"] = serving.connect(shared["folder"], batch_size=4)
    shared["sampler"] = serving.SeededSampler(shared["folder"])
    yield
    shared.clear()


def client():
    return shared["client"]


def connect(url="http://localhost:1", **kwargs):
    serving.connect(url, **kwargs)


z = np.zeros((4, 3), "float32")


@table(
    ("url None", lambda: connect(None), "address"),
    ("url empty", lambda: connect(""), "address|SavedModel"),
    ("url 5", lambda: connect(5), "address"),
    ("url ftp", lambda: connect("ftp://host:1"), "address"),
    ("url no host", lambda: connect("http://"), "address"),
    ("url no port", lambda: connect("grpc://host"), "address"),
    ("url port", lambda: connect("grpc://host:99999"), "address"),
    ("url port text", lambda: connect("http://host:a"), "address"),
    ("url missing", lambda: connect("missing"), "does not exist"),
    ("model None", lambda: connect(model=None), "`model` must be"),
    ("model empty", lambda: connect(model=""), "`model` must be"),
    ("batch_size 0", lambda: connect(batch_size=0), "`batch_size` must be"),
    ("batch_size 1.5", lambda: connect(batch_size=1.5), "`batch_size` must be"),
    ("timeout 0", lambda: connect(timeout=0), "`timeout` must be"),
    ("timeout nan", lambda: connect(timeout=nan), "`timeout` must be"),
    ("timeout text", lambda: connect(timeout="a"), "`timeout` must be"),
    ("version 0", lambda: connect(version=0), "`version` must be"),
    ("version text", lambda: connect(version="1"), "`version` must be"),
    ("both", lambda: connect(version=1, label="a"), "Either a `version`"),
    ("label 5", lambda: connect(label=5), "`label` must be"),
    ("headers text", lambda: connect(headers="a"), "`headers` must be"),
    ("headers 5", lambda: connect(headers=5), "`headers` must be"),
    ("headers of numbers", lambda: connect(headers={"a": 1}), "`headers` must be"),
    ("generate None", lambda: client().generate(None), "must be numbers|float32"),
    ("generate text", lambda: client().generate([["a"] * 3]), "must be numbers"),
    ("generate NaN", lambda: client().generate(z + nan), "must be finite"),
    ("generate 1e300", lambda: client().generate(z + np.float64(1e300)), "must be finite"),
    ("generate shape", lambda: client().generate(z[:, :2]), "float32 of shape"),
    ("generate none", lambda: client().generate(z[:0]), "one or more rows"),
    ("generate scalar", lambda: client().generate(1.0), "float32 of shape"),
    ("generate ragged", lambda: client().generate([[1], [1, 2]]), "must be an array"),
    ("generate complex", lambda: client().generate(z + 1j), "float32 of shape"),
    ("sample 1.5", lambda: client().sample([1.5]), "int64 of shape"),
    ("sample 2**63", lambda: client().sample([2**63]), "int64"),
    ("sample 2**70", lambda: client().sample([2**70]), "must be numbers|int64"),
    ("sample True", lambda: client().sample([True]), "int64"),
    ("layers of two", lambda: client().sample_layers(z, [0, 1]), "as many of each input"),
    ("layers of four for one", lambda: client().sample_layers(z[:1], [0, 1, 2, 3]), "as many of"),
    ("layers 1.5", lambda: client().sample_layers(z, 1.5), "int32"),
    ("layers text", lambda: client().sample_layers(z, "a"), "must be numbers"),
    ("layers of a number", lambda: client().sample_layers(5, 1), "float32 of shape"),
    ("a condition", lambda: client().generate(z, condition=[1] * 4), "takes latent"),
    ("a signature", lambda: client().predict("nope", x=z), "has the signatures"),
    ("signature None", lambda: client().predict(None, x=z), "has the signatures"),
    ("no input", lambda: client().predict("sample"), "takes seed"),
)
def test_clients(call, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(call, match)


def export(model=None, path="new", **kwargs):
    serving.export_sampler(sampler() if model is None else model, path, **kwargs)


def write(model=None, out="shards", count=4, **kwargs):
    serving.write_samples(shared["sampler"] if model is None else model, out, count, **kwargs)


def blocks(*args, **kwargs):
    return list(shared["sampler"].blocks(*args, **kwargs))


@table(
    ("model text", lambda: export("s.keras"), "`model` must be"),
    ("model NaN", lambda: export(spoilt(bad.generator)), "finite weights"),
    ("critic", lambda: export(bad.conv_gan()[1]), "as critics do"),
    ("path 5", lambda: export(path=5), "`path` must be"),
    ("path of a bucket", lambda: export(path="gs://bucket/m"), "folder on this machine"),
    ("version 0", lambda: export(version=0), "`version` must be"),
    ("version True", lambda: export(version=True), "`version` must be"),
    ("latent beside", lambda: export(latent=kgl.latents.Gaussian(3)), "`latent` is for"),
    ("latent 5", lambda: export(bad.generator(), latent=5), "`latent` must be"),
    ("range", lambda: export(data_range=(1, -1)), "`data_range` must be"),
    ("range None", lambda: export(data_range=(None, 1)), "`data_range` must be"),
    ("sizes none", lambda: export(allowed_batch_sizes=()), "`allowed_batch_sizes` must be"),
    ("sizes 5", lambda: export(allowed_batch_sizes=5), "`allowed_batch_sizes` must be"),
    ("sizes falling", lambda: export(allowed_batch_sizes=(8, 1)), "`allowed_batch_sizes` must be"),
    ("scores NaN", lambda: export(scores={"a": nan}), "`scores` must be"),
    ("scores text", lambda: export(scores="a"), "`scores` must be"),
    ("metadata None", lambda: serving.read_metadata(None), "`path` must be"),
    ("metadata missing", lambda: serving.read_metadata("missing"), "missing"),
    ("verify missing", lambda: serving.verify("missing"), "missing"),
    ("verify 5", lambda: serving.verify(5), "`path` must be"),
    ("seeded 5", lambda: serving.SeededSampler(5), "`model` must be"),
    ("seeded missing", lambda: serving.SeededSampler("missing.keras"), "missing.keras"),
    ("seeded condition", lambda: serving.SeededSampler(sampler(), 3), "takes no condition"),
    ("seeded NaN", lambda: serving.SeededSampler(spoilt(bad.generator)), "finite weights"),
    ("blocks layers", lambda: blocks(0, 4, layers=4), "`layers` must be"),
    ("blocks layers 0.5", lambda: blocks(0, 4, layers=0.5), "`layers` must be"),
    ("blocks batch_size", lambda: blocks(0, 4, batch_size=0), "`batch_size` must be"),
    ("blocks start", lambda: blocks(0.5, 4), "`start` must be"),
    ("blocks stop", lambda: blocks(0, 2**64), "`stop - 1` must be"),
    ("count 0", lambda: write(count=0), "`count` must be"),
    ("count 1.5", lambda: write(count=1.5), "`count` must be"),
    ("seed", lambda: write(seed=2**63 - 2), "`seed` must be"),
    ("shards", lambda: write(shards=5), "`shards` must be"),
    ("format", lambda: write(format="gif"), "`format` must be"),
    ("format png", lambda: write(format="png"), "PNG files are for"),
    ("layers", lambda: write(layers=9), "has 3 layers"),
    ("out 5", lambda: write(out=5), "`out` must be"),
    ("resume", lambda: write(resume="no"), "True or False"),
    ("model of shards", lambda: write(5), "`model` must be"),
    ("shard", lambda: serving.write_shard(shared["sampler"], "none", 0), "none"),
)
def test_serving(call, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(call, match)
    assert not list(tmp_path.iterdir())


def test_signatures_broadcast_no_rows(tmp_path):
    """A server that is asked past the client's checks answers with an error, too."""
    call = shared["client"].loaded.signatures["sample_layers"]
    for n, m in ((1, 4), (4, 1), (2, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows of each input"):
            call(latent=tf.zeros((n, 3)), layers=tf.zeros(m, tf.int32))
    assert call(latent=tf.zeros((4, 3)), layers=tf.range(4))["samples"].shape == (4, 2)
