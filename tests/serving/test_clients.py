"""The clients over real sockets: both protocols, against a server with TF Serving's rules."""

import concurrent.futures
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests.serving.conftest import ROOT, answers, model_server
from tests.serving.server import Server

# REST writes a float32 as a decimal; other batch sizes may round the last bit another way.
ATOL = 1e-6


@pytest.fixture(scope="module", params=["stand-in", "tensorflow_model_server"])
def served(request, images):
    """(gRPC, REST) addresses of the image model, version 1 labelled "before"."""
    _, folder = images
    if request.param == "stand-in":
        with Server(folder, labels={"before": 1}) as server:
            yield server.urls()
    else:
        with model_server(folder, 'version_labels { key: "before" value: 1 }') as urls:
            yield urls


@pytest.fixture(params=["grpc", "rest"])
def client(request, served):
    with kgl.serving.connect(served[request.param == "rest"]) as client:
        yield client


def test_every_signature(client, images):
    tuner, folder = images
    local, seeds = answers(folder), np.arange(5)
    z = tuner.latent.sample_rows(seeds).numpy()
    samples = local["sample"](seed=tf.constant(seeds))["samples"].numpy()
    np.testing.assert_allclose(client.sample(seeds), samples, rtol=0, atol=ATOL)
    np.testing.assert_allclose(client.generate(z), samples, rtol=0, atol=ATOL)
    layers = [0, 1, 2, 3, 99]
    expected = tuner(z, layers=tf.constant(layers))
    np.testing.assert_allclose(client.sample_layers(z, layers), expected, rtol=0, atol=ATOL)
    expected = tuner(z, layers=1)
    np.testing.assert_allclose(client.sample_layers(z, 1), expected, rtol=0, atol=ATOL)
    scores = tuner.stack.score(samples, layer=2).numpy()[:, 0]
    assert np.ptp(scores) > 100 * ATOL
    np.testing.assert_allclose(client.score(samples), scores, rtol=1e-5, atol=ATOL)
    pngs = client.image(seeds)
    assert len(pngs) == 5
    for png, sample in zip(pngs, samples):
        pixels = tf.io.decode_png(png).numpy().astype(int)
        assert np.abs(pixels - np.round((sample + 1) * 127.5)).max() <= 1


def test_many_rows_go_in_batches_and_wrong_ones_mix_nothing_up(client, images):
    _, folder = images
    seeds = np.arange(1000)
    expected = answers(folder)["sample"](seed=tf.constant(seeds))["samples"]
    samples = client.sample(seeds)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=ATOL)

    def ask(i):
        return client.sample([i])[0]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        np.testing.assert_allclose(
            list(pool.map(ask, range(200))), samples[:200], rtol=0, atol=ATOL
        )


def test_versions_and_labels(served, images):
    tuner, _ = images
    z = tuner.latent.sample_rows([7]).numpy()
    for url in served:
        for which in ({"version": 1}, {"label": "before"}):
            with kgl.serving.connect(url, **which) as client:
                np.testing.assert_allclose(client.generate(z), tuner(z, layers=0), atol=1e-5)
        with kgl.serving.connect(url, version=2) as client:
            np.testing.assert_allclose(client.generate(z), tuner(z), atol=1e-5)
        with kgl.serving.connect(url, version=9) as client, pytest.raises(ValueError, match="9"):
            client.generate(z)
    with pytest.raises(ValueError, match="Either a `version` or a `label`"):
        kgl.serving.connect(served[0], version=1, label="stable")


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("sample", {"seed": [0.5]}, r"must be int64 of shape \(n,\)\. Received: float64"),
        ("sample", {"seed": 3}, r"Received: int64 of shape \(\)"),
        ("sample", {"seed": [[1]]}, r"Received: int64 of shape \(1, 1\)"),
        ("sample", {"seed": []}, r"one or more rows.*'seed': 0"),
        ("sample", {"seed": np.zeros(0, int)}, r"one or more rows.*'seed': 0"),
        ("sample", {"seed": ["a"]}, "must be numbers"),
        ("sample", {"latent": [1]}, "takes seed. Received: latent"),
        ("sample", {}, "takes seed. Received: nothing"),
        ("serving_default", {"latent": np.zeros((2, 9))}, r"float32 of shape \(n, 8\)"),
        ("serving_default", {"latent": np.zeros(8)}, r"Received: float64 of shape \(8,\)"),
        ("serving_default", {"latent": np.full((2, 8), np.nan)}, "finite. Received: 16 NaN"),
        ("serving_default", {"latent": [[1], [1, 2]]}, "must be an array"),
        (
            "sample_layers",
            {"latent": np.zeros((2, 8)), "layers": [1]},
            "as many of each input. Received: {'latent': 2, 'layers': 1}",
        ),
        (
            "sample_layers",
            {"latent": np.zeros((1, 8)), "layers": [2**40]},
            "must fit in int32. Received: 1099511627776",
        ),
        ("draw", {"seed": [1]}, "has the signatures image, sample, .*Received: 'draw'"),
    ],
)
def test_bad_requests_are_not_sent(client, signature, inputs, message):
    with pytest.raises(ValueError, match=message):
        client.predict(signature, **inputs)


def test_the_server_refuses_what_is_larger_than_its_batches(served):
    for url in served:
        refused = pytest.raises(ValueError, match="100000 is larger than maximum")
        with kgl.serving.connect(url, batch_size=100_000) as client, refused:
            client.sample(np.arange(100_000))


def test_no_such_model_or_server(served):
    for url in served:
        refused = pytest.raises(ValueError, match="not found")
        with kgl.serving.connect(url, model="other") as client, refused:
            client.sample([1])
    for url in ("grpc://localhost:1", "http://localhost:1"):
        refused = pytest.raises(ConnectionError, match="[Cc]onnection refused|UNAVAILABLE")
        with kgl.serving.connect(url, timeout=5) as client, refused:
            client.sample([1])


@pytest.mark.parametrize("url", ["localhost:8500", "grpc://localhost", "ftp://x:1", ""])
def test_bad_addresses(url):
    with pytest.raises(ValueError, match="Expected an address such as grpc://localhost:8500"):
        kgl.serving.connect(url)


def test_retries(toy):
    tuner, folder = toy
    expected = tuner(tuner.latent.sample_rows([3]))
    for protocol in (0, 1):
        server = Server(folder)
        with server, kgl.serving.connect(server.urls()[protocol], timeout=20) as client:
            client.signatures()
            server.fail_first = 2
            np.testing.assert_allclose(client.sample([3]), expected, atol=1e-5)
            assert server.fail_first == 0
            server.fail_first = 1000
            with pytest.raises(ConnectionError, match="starting|503"):
                client.sample([3])
            assert server.fail_first > 900


def test_a_dropped_connection_is_asked_again(toy):
    """A server that closes the connection without an answer, twice, and then is there."""
    tuner, folder = toy
    with Server(folder) as server:
        dropped = []

        class Drops(server.rest.RequestHandlerClass):
            def do_POST(self):
                if len(dropped) < 2:
                    dropped.append(self.rfile.read(int(self.headers["Content-Length"])))
                    self.close_connection = True
                    return
                super().do_POST()

        server.rest.RequestHandlerClass = Drops
        with kgl.serving.connect(server.urls()[1]) as client:
            expected = tuner(tuner.latent.sample_rows([3]))
            np.testing.assert_allclose(client.sample([3]), expected, atol=1e-5)
    assert len(dropped) == 2


def test_a_model_that_is_not_there_yet_is_asked_of_again(toy):
    _, folder = toy
    with Server(folder) as server:
        name, server.name = server.name, "not yet"
        for url in server.urls():
            with kgl.serving.connect(url) as client:
                with pytest.raises(ValueError, match="not found"):
                    client.sample([1])
                server.name = name
                assert client.sample([1]).shape == (1, 2)
                server.name = "not yet"


def test_a_folder_here(images, toy):
    tuner, folder = images
    z = tuner.latent.sample_rows([7]).numpy()
    with kgl.serving.connect(folder) as client:
        np.testing.assert_allclose(client.generate(z), tuner(z), atol=1e-5)
    with kgl.serving.connect(str(folder), version=1) as client:
        np.testing.assert_allclose(client.generate(z), tuner(z, layers=0), atol=1e-5)
    with pytest.raises(ValueError, match="has the versions 1, 2. Received: version=9"):
        kgl.serving.connect(folder, version=9)
    with pytest.raises(ValueError, match="/nope, which does not exist"):
        kgl.serving.connect("/nope")
    with pytest.raises(ValueError, match="Labels are a server's"):
        kgl.serving.connect(folder, label="stable")


def test_headers(toy):
    """What is sent along: an authorization, say."""
    with Server(toy[1]) as server:
        for url in server.urls():
            with kgl.serving.connect(url, headers={"Authorization": "Bearer x"}) as client:
                client.sample([1])
            assert server.last_headers["authorization"] == "Bearer x"
            server.last_headers = {}


def test_timeouts(toy):
    _, folder = toy
    with Server(folder, delay=1.0) as server:
        for url in server.urls():
            with kgl.serving.connect(url, timeout=0.3) as client, pytest.raises(TimeoutError):
                client.sample([3])


def test_binary_outputs_and_structured_rows_of_any_model(tmp_path):
    """A SavedModel of two outputs, one of them binary."""

    @tf.function(input_signature=[tf.TensorSpec((None,), "int64", "a")])
    def f(a):
        return {"text_bytes": tf.strings.as_string(a), "twice": 2 * a}

    module = tf.Module()
    module.f = f
    tf.saved_model.save(module, str(tmp_path / "m" / "1"), {"f": f})
    (tmp_path / "m" / "1" / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 8 } max_enqueued_batches { value: 9 } allowed_batch_sizes: 8"
    )
    with Server(tmp_path / "m") as server:
        for url in server.urls():
            with kgl.serving.connect(url) as client:
                with pytest.raises(ValueError, match=r"int64 of shape \(n,\)"):
                    client.predict("f", a=3)
                outputs = client.predict("f", a=[1, 20])
                assert list(outputs["text_bytes"]) == [b"1", b"20"]
                assert list(outputs["twice"]) == [2, 40]


def test_seeds_of_64_bits(toy):
    """They arrive whole over each protocol, and what is no integer is refused."""
    tuner, folder = toy
    seeds = np.array([-(2**63), 2**31 - 2, 2**31 - 1, 2**53 + 1, 2**63 - 1])
    expected = tuner(tuner.latent.sample_rows(seeds))
    assert len(np.unique(expected, axis=0)) == 5
    with Server(folder) as server:
        for url in (*server.urls(), folder):
            with kgl.serving.connect(url) as client:
                np.testing.assert_allclose(client.sample(seeds), expected, atol=1e-5)
                np.testing.assert_allclose(client.sample(seeds.tolist()), expected, atol=1e-5)
                for bad, message in (
                    ([1.0], "must be int64"),
                    ([2**63], "must fit in int64"),
                    (["1"], "must be numbers"),
                ):
                    with pytest.raises(ValueError, match=message):
                        client.sample(bad)


def test_a_missing_package(monkeypatch):
    """One line that says which, and where to get it."""
    for name, url in (("grpc", "grpc://localhost:1"), ("requests", "http://localhost:1")):
        protocol = "grpc" if name == "grpc" else "rest"
        module = f"keras_gradlayer.serving.clients.{protocol}_client"
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            patch.delitem(sys.modules, module, raising=False)
            said = rf"{url.split(':')[0]}:// needs the package {name}: pip install 'keras-gradlayer"
            with pytest.raises(ImportError, match=said):
                kgl.serving.connect(url)


def test_clients_import_what_they_use():
    """The package imports with none of these; TensorFlow itself imports requests."""
    code = """
import sys
for name in ("grpc", "tensorflow_serving", "locust"):
    sys.modules[name] = None
import keras_gradlayer.serving
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)
