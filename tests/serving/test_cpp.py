"""The signatures in TensorFlow's C++ runtime, with no Python and no XLA, as a server runs them."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

import keras_gradlayer as kgl
from keras_gradlayer.serving.versions import find_version
from tests.serving.conftest import answers
from tests.serving.test_signatures import inputs_for

# The same kernels in another process: rounding of batches that threads split otherwise.
ATOL = 1e-6
SOURCE = pathlib.Path(__file__).with_name("run_signatures.cc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled program."""
    if not shutil.which("g++"):
        pytest.skip("g++ is not on PATH")
    binary = tmp_path_factory.mktemp("cpp") / "run_signatures"
    library = pathlib.Path(tf.sysconfig.get_lib())
    names = [p.name for p in library.glob("libtensorflow_*.so.2")]
    subprocess.run(
        ["g++", "-O0", "-w", *tf.sysconfig.get_compile_flags(), str(SOURCE), "-o", str(binary)]
        + [f"-L{library}", f"-Wl,-rpath,{library}", "-Wl,--no-as-needed"]
        + [f"-l:{name}" for name in sorted(names)],
        check=True,
    )
    return binary


def run(program, model, requests, folder):
    """Answers by request name, from inputs by request name; the name begins with the signature."""
    for name, inputs in requests.items():
        (folder / name).mkdir(parents=True)
        for key, value in inputs.items():
            proto = tf.make_tensor_proto(value)
            (folder / name / f"{key}.in").write_bytes(proto.SerializeToString())
    result = subprocess.run([program, model, folder], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr)
    outputs = {}
    for name in requests:
        [file] = (folder / name).glob("*.out")
        outputs[name] = tf.make_ndarray(tensor_pb2.TensorProto.FromString(file.read_bytes()))
    return outputs


@pytest.fixture(scope="module")
def compressed(toy, tmp_path_factory):
    """The toy's sampler in four bits, and its model folder."""
    sampler = toy[0].sampler().compress("int4")
    folder = tmp_path_factory.mktemp("compressed") / "sampler"
    kgl.serving.export_sampler(sampler, folder)
    return sampler, folder


@pytest.mark.parametrize("which", ["toy", "images", "classes", "compressed"])
def test_every_signature(request, program, which, tmp_path):
    tuner, folder = request.getfixturevalue(which)
    served = answers(folder)
    whole = inputs_for(served, tuner.latent, tuner.stack.depth)
    requests = {f"{name}.256": inputs for name, inputs in whole.items()}
    for i in (0, 7, 255):
        for name, inputs in whole.items():
            requests[f"{name}.row{i}"] = {k: v[i : i + 1] for k, v in inputs.items()}
    outputs = run(program, find_version(folder), requests, tmp_path)
    assert len(outputs) == 4 * len(served) >= 16
    for name, inputs in whole.items():
        [expected] = served[name](**inputs).values()
        for i in (None, 0, 7, 255):
            rows = slice(None) if i is None else slice(i, i + 1)
            found = outputs[f"{name}.256" if i is None else f"{name}.row{i}"]
            if expected.dtype == tf.string:
                a, b = (
                    np.stack([tf.io.decode_png(png).numpy() for png in pngs]).astype(int)
                    for pngs in (found, expected[rows].numpy())
                )
                assert np.abs(a - b).max() <= 1
            else:
                np.testing.assert_allclose(found, expected[rows], rtol=0, atol=ATOL)


def test_the_program_refuses_what_a_server_without_xla_refuses(program, tmp_path):
    """The imitation is true to this: such a model loads, and fails at the first request."""
    module = tf.Module()
    module.f = tf.function(
        lambda x: {"y": 2 * x},
        input_signature=[tf.TensorSpec((None, 2), "float32", "x")],
        jit_compile=True,
    )
    tf.saved_model.save(module, str(tmp_path / "m"), {"f": module.f})
    with pytest.raises(RuntimeError, match="XLA"):
        run(program, tmp_path / "m", {"f": {"x": np.ones((3, 2), "float32")}}, tmp_path / "r")
