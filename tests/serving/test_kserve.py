"""A second real server: KServe's, through its V1 protocol."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

import keras_gradlayer as kgl
from tests.serving.conftest import ROOT, answers

pytestmark = pytest.mark.kserve


@pytest.fixture(scope="module")
def address(images, tmp_path_factory):
    pytest.importorskip("kserve", reason='needs the extra "kserve"')
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    log = tmp_path_factory.mktemp("kserve") / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "export/kserve_server.py", str(images[1]), "--port", str(port)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    try:
        for _ in range(120):
            assert process.poll() is None, log.read_text()
            with socket.socket() as s:
                if s.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.5)
        yield f"http://localhost:{port}"
    finally:
        process.kill()
        process.wait()


def test_every_signature(address, images):
    tuner, folder = images
    seeds = np.arange(5)
    z = tuner.latent.sample_rows(seeds).numpy()
    served = answers(folder)
    samples = served["serving_default"](latent=z)["samples"].numpy()
    # float32 written as decimals, and read back
    with kgl.serving.connect(address) as client:
        assert client.signatures() == {}  # KServe does not publish them
        np.testing.assert_allclose(client.sample(seeds), samples, rtol=0, atol=1e-6)
        np.testing.assert_allclose(client.generate(z), samples, rtol=0, atol=1e-6)
        layers = np.arange(5, dtype="int32")
        expected = served["sample_layers"](latent=z, layers=layers)["samples"]
        np.testing.assert_allclose(client.sample_layers(z, layers), expected, rtol=0, atol=1e-6)
        expected = served["score"](samples=samples)["score"]
        np.testing.assert_allclose(client.score(samples), expected, rtol=1e-5, atol=1e-6)
        assert [png[1:4] for png in client.image(seeds)] == [b"PNG"] * 5


def test_what_it_refuses(address):
    with kgl.serving.connect(address, model="other") as client, pytest.raises(ValueError):
        client.sample([1])
    with kgl.serving.connect(address) as client:
        with pytest.raises(ValueError, match="400"):
            client.generate(np.zeros((2, 9)))
        client.batch_size = 1000
        with pytest.raises(ValueError, match="Expected 1 to 64 rows. Received: 65"):
            client.sample(np.arange(65))
    for body, said in (
        (b'{"instances": []}', "Expected 1 to 64 rows. Received: 0"),
        (b"{}", "The request has no 'instances'."),
        (b"[1]", "each row a value or a dict"),
        (b'{"signature_name": "nope", "instances": [1]}', "There is no signature 'nope'"),
        (b'{"signature_name": ["sample"], "instances": [1]}', "each row a value or a dict"),
        (b'{"instances": [[0, 0], [1]]}', "each row a value or a dict"),
        (b'{"signature_name": "sample_layers", "instances": [[0, 0]]}', "each row a value or a"),
    ):
        answer = requests.post(f"{address}/v1/models/sampler:predict", data=body)
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
    # as curl sends it, without a content type
    body = b'{"signature_name": "sample", "instances": [0, 1, 2]}'
    answer = requests.post(f"{address}/v1/models/sampler:predict", data=body)
    assert len(answer.json()["predictions"]) == 3
