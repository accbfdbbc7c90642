"""What lies in export/: the files a server reads, and the scripts."""

import importlib.util
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

import click
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import keras_gradlayer as kgl
from keras_gradlayer.serving.batching import read_batching
from tests.serving.conftest import ROOT, model_server
from tests.serving.server import Server

EXPORT = ROOT / "export"
LINTER_SKIPS = (  # left to whoever applies the files
    "CKV_K8S_43",  # the image's digest
    "CKV_K8S_15",  # the pull policy
    "CKV_K8S_21",  # the namespace
)


def test_models_config():
    text = (EXPORT / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path) == ("sampler", "/models/sampler")
    assert dict(model.version_labels) == {"stable": 1, "canary": 1}
    # what has a label stays loaded, whatever is exported later
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_batching_files(toy):
    written = (toy[1] / "1" / "batching_params.pbtxt").read_text()
    assert (EXPORT / "batching_params.pbtxt").read_text() == written
    common = read_batching((EXPORT / "batching_parameters.txt").read_text())
    for params in (read_batching(written), common):
        sizes = list(params.allowed_batch_sizes)
        assert sizes == sorted(set(sizes))
        assert sizes[-1] == params.max_batch_size.value
        assert sizes == kgl.serving.read_metadata(toy[1])["allowed_batch_sizes"]
    assert common.num_batch_threads.value >= 1


def flags_of(text):
    return re.findall(r"--[a-z_]+=\S+", text)


def test_the_same_server_everywhere():
    """README, compose and Kubernetes start the same image with the same flags."""
    compose = yaml.safe_load((EXPORT / "compose.yaml").read_text())["services"]["sampler"]
    manifests = list(yaml.safe_load_all((EXPORT / "kubernetes.yaml").read_text()))
    [deployment] = [m for m in manifests if m["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    readme = flags_of((EXPORT / "README.md").read_text())
    assert compose["command"] == container["args"] == readme
    version = container["image"].split(":")[1]
    assert version in compose["image"]
    assert container["image"] in (EXPORT / "README.md").read_text()
    named = {pathlib.Path(f.split("=")[1]).name for f in readme if "=/config/" in f}
    mounted = yaml.safe_load((EXPORT / "kustomization.yaml").read_text())
    assert named == set(mounted["configMapGenerator"][0]["files"])
    assert all((EXPORT / name).is_file() for name in named)
    [service] = [m for m in manifests if m["kind"] == "Service"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == deployment["spec"]["selector"]["matchLabels"]


def test_kustomization():
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not on PATH")
    result = subprocess.run(
        ["kubectl", "kustomize", EXPORT], capture_output=True, text=True, check=True
    )
    kinds = [m["kind"] for m in yaml.safe_load_all(result.stdout)]
    expected = ["ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Service"]
    assert sorted(kinds) == expected


def test_the_server_is_confined():
    """Not root, nothing to write or to gain, bounded, and reached by those who should."""
    text = (EXPORT / "kubernetes.yaml").read_text()
    by_kind = {m["kind"]: m for m in yaml.safe_load_all(text)}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    policy = by_kind["NetworkPolicy"]["spec"]
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["egress"] == []
    assert all(rule["from"] for rule in policy["ingress"])
    compose = yaml.safe_load((EXPORT / "compose.yaml").read_text())["services"]["sampler"]
    assert all(port.startswith("127.0.0.1:") for port in compose["ports"])
    assert compose["read_only"]
    assert compose["cap_drop"] == ["ALL"]
    assert "-p 127.0.0.1:8500:8500" in (EXPORT / "README.md").read_text()


@pytest.mark.skipif(not shutil.which("checkov"), reason="checkov is not on PATH")
def test_a_linter_of_manifests():
    command = ["checkov", "-d", EXPORT, "--framework", "kubernetes", "--compact", "--quiet"]
    skipped = ["--skip-check", ",".join(LINTER_SKIPS)]
    result = subprocess.run([*command, *skipped], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def script(capsys, monkeypatch, name, *args):
    """A script's exit status, output and error output."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXPORT / f"{name}.py"), run_name="__main__")
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.mark.parametrize("protocol", [0, 1])
def test_client_script(capsys, monkeypatch, toy, images, tmp_path, protocol):
    with Server(images[1], labels={"stable": 1}) as server:
        url = server.urls()[protocol]
        out = tmp_path / "images"
        args = ["--url", url, "--count", 3, "--seed", 5, "--out", out]
        assert script(capsys, monkeypatch, "client", *args)[0] == 0
        assert sorted(p.name for p in out.iterdir()) == ["5.png", "6.png", "7.png"]
        with kgl.serving.connect(images[1]) as local:
            assert [p.read_bytes() for p in sorted(out.iterdir())] == local.image([5, 6, 7])
        status, _, err = script(capsys, monkeypatch, "client", *args)
        assert status == 2
        assert "not an empty folder; nothing was written" in err
        args = ["--url", url, "--label", "stable", "--count", 1, "--out", tmp_path / "stable"]
        assert script(capsys, monkeypatch, "client", *args)[0] == 0
        with kgl.serving.connect(images[1] / "1") as local:
            assert (tmp_path / "stable" / "0.png").read_bytes() == local.image([0])[0]
    with Server(toy[1]) as server:
        args = ["--url", server.urls()[protocol], "--count", 3, "--out", tmp_path / "points"]
        assert script(capsys, monkeypatch, "client", *args)[0] == 0
        samples = np.load(tmp_path / "points" / "samples.npy")
        expected = toy[0](toy[0].latent.sample_rows([0, 1, 2]))
        np.testing.assert_allclose(samples, expected, atol=1e-5)


def test_client_script_without_a_server(capsys, monkeypatch, tmp_path):
    args = ["--url", "http://localhost:1", "--out", tmp_path / "out"]
    status, _, err = script(capsys, monkeypatch, "client", *args)
    assert status == 1
    assert "could not be reached" in err
    assert not (tmp_path / "out").exists()


def load_test(url, *args):
    """Start the load test: Locust needs a process of its own."""
    if not importlib.util.find_spec("locust"):
        pytest.skip("Locust is not installed")
    options = ["--headless", "-u", "16", "-r", "16", "-t", "2s", "--json", "-H", url]
    return subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", EXPORT / "load_test.py", *options, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def figures(process):
    """The load test's exit status, requests, failures and output."""
    out, _ = process.communicate()
    found = re.search(r"^\[\s*\{.*^\]", out, re.DOTALL | re.MULTILINE)
    found = json.loads(found[0])[0] if found else {}
    return process.returncode, found.get("num_requests"), found.get("num_failures"), out


def test_load_test(toy, images, tmp_path):
    """Right answers in batches over both protocols; answers of another version; and refusals."""
    for version, exported in enumerate((toy[1], images[1]), start=1):
        shutil.copytree(exported / "1", tmp_path / str(version))
    with Server(toy[1]) as server:
        grpc, rest = server.urls()
        right = [
            load_test(grpc, "--rows", 3, "--saved-model", tmp_path, "--model-version", 1),
            load_test(rest, "--rows", 3, "--saved-model", toy[1]),
        ]
        wrong = load_test(grpc, "--saved-model", tmp_path)  # its newest is another model
        refused = load_test(grpc, "--rows", 100, "--batch-size", 1000)
        for process in right:
            status, requests, failures, out = figures(process)
            assert (status, failures) == (0, 0), out
            assert requests > 16
        for process, said in ((wrong, "WrongAnswer"), (refused, "larger than maximum")):
            status, requests, failures, out = figures(process)
            assert status == 1
            assert requests == failures > 0
            assert said in out
        assert max(server.models[1].batchers["sample"].batches) > 3


@pytest.mark.slow
def test_load_test_of_the_real_server(toy):
    """64 clients."""
    with model_server(toy[1]) as urls:
        for url in urls:
            args = ["-u", 64, "-r", 64, "-t", "20s", "--saved-model", toy[1]]
            status, requests, failures, out = figures(load_test(url, *args))
            assert (status, failures) == (0, 0), out
            assert requests > 1000


def test_verify_script(capsys, monkeypatch, toy, tmp_path):
    status, out, _ = script(capsys, monkeypatch, "verify", toy[1])
    assert (status, out.strip()) == (0, f"{toy[1]}: ready to serve")
    module = tf.Module()
    spec = tf.TensorSpec((None,), "float32", "x")
    module.f = tf.function(lambda x: {"y": x}, input_signature=[spec], jit_compile=True)
    tf.saved_model.save(module, str(tmp_path / "m"), {"f": module.f})
    status, out, _ = script(capsys, monkeypatch, "verify", tmp_path / "m")
    assert status == 1
    assert re.match(r"BREAKS: Signature 'f': .* compiled by XLA", out)
    status, _, err = script(capsys, monkeypatch, "verify", tmp_path / "none")
    assert status == 2
    assert "does not exist" in err


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("client", "grpc"),
        ("verify", "tensorflow"),
        ("kserve_server", "kserve"),
        ("beam_sample", "apache_beam"),
    ],
)
def test_readme_commands(name, needs):
    pytest.importorskip(needs)
    lines = re.findall(rf"python export/{name}\.py (.*)", (EXPORT / "README.md").read_text())
    command = runpy.run_path(str(EXPORT / f"{name}.py"))["main"]
    for line in lines:
        command.make_parser(click.Context(command)).parse_args(line.split())
    assert lines


def test_readme_python(toy, tmp_path, monkeypatch):
    """The code of the page, against a server whose address stands in for the one printed."""
    tuner, folder = toy
    monkeypatch.chdir(tmp_path)
    names = {"tuner": tuner, "kgl": kgl}
    export, call = re.findall(r"```python\n(.*?)```", (EXPORT / "README.md").read_text(), re.DOTALL)
    exec(export, names)
    assert (tmp_path / "models" / "sampler" / "1" / "saved_model.pb").exists()
    with Server(folder, labels={"stable": 1}) as server:
        exec(call.replace("grpc://localhost:8500", server.urls()[0]), names)
        # the curl of the page
        body = re.search(r"curl -d '(.*)' localhost", (EXPORT / "README.md").read_text())[1]
        with kgl.serving.connect(server.urls()[1]) as client:
            answer = client._call("POST", ":predict", json=json.loads(body))
    np.testing.assert_allclose(answer["predictions"], names["samples"], atol=1e-6)
    np.testing.assert_allclose(names["samples"], tuner(names["latents"]), atol=1e-5)
    assert names["scores"].shape == (3,)
