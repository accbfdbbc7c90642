"""What docs/how-to/ecosystem.md shows of other tools runs, and comes to the right values."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl

pytestmark = pytest.mark.ecosystem
PAGE = pathlib.Path(kgl.__file__).parents[1] / "docs" / "how-to" / "ecosystem.md"


def shown(*needed):
    """The names that the page's examples make, up to the last of those that need a package."""
    for package in {*needed} - {"hub"}:
        pytest.importorskip(package, reason='needs the extra "ecosystem"')
    names = {"np": np, "keras": keras, "kgl": kgl}
    blocks = re.findall(r"^```(python|py)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for kind, code in blocks:
        others = re.findall(r"^(?:import|from) (keras_tuner|mlflow|wandb|tf2onnx)", code, re.M)
        if kind == "python" or set(others) & set(needed) or "hub" in needed and "hub" in code:
            exec(code, names)
    return names


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_keras_tuner():
    names = shown("keras_tuner")
    trials = names["search"].oracle.get_best_trials(4)
    tried = {(t.hyperparameters["step_size"], t.hyperparameters["insert"]) for t in trials}
    assert tried == {(s, i) for s in (0.05, 0.2) for i in ("top", "bottom")}
    assert [t.score for t in trials] == sorted(t.score for t in trials)
    chosen, best = trials[0].hyperparameters.values, names["best"]
    assert (best.step_size, best.insert) == (chosen["step_size"], chosen["insert"])
    assert best.stack.depth == trials[0].best_step + 1


def test_mlflow():
    names = shown("mlflow")
    client = names["mlflow"].MlflowClient()
    for run, history in ((names["run"], names["history"]), (names["automatic"], names["again"])):
        for name, values in history.history.items():
            logged = client.get_metric_history(run.info.run_id, name)
            assert [m.value for m in logged] == pytest.approx(values, rel=1e-12), name


def test_weights_and_biases():
    names = shown("wandb")
    for name, values in names["logged"].history.items():
        assert names["summary"][f"epoch/{name}"] == pytest.approx(values[-1], rel=1e-12)
    assert keras.saving.load_model("tuner-2.keras").stack.depth == 2


def onnx(z):
    import onnxruntime

    session = onnxruntime.InferenceSession("sampler.onnx")
    return session.run(None, {session.get_inputs()[0].name: z})[0]


def lite(z):
    """By LiteRT's own operations alone."""
    with pytest.warns(UserWarning, match="deprecated"):
        interpreter = tf.lite.Interpreter("sampler.tflite")
    [given], [found] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], z.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], z)
    interpreter.invoke()
    return interpreter.get_tensor(found["index"])


def test_other_runtimes_and_the_hub():
    names = shown("tf2onnx", "onnxruntime", "hub")
    sampler = names["sampler"]
    for n in (1, 7):  # the batch is free
        z = np.asarray(sampler.latent.sample(n, seed=3))
        expected = sampler.predict(z, verbose=0)
        assert np.abs(expected - sampler(z, layers=0)).max() > 1e-3  # the layers do something
        np.testing.assert_allclose(onnx(z), expected, atol=1e-5)
        np.testing.assert_allclose(lite(z), expected, atol=1e-5)
    loaded = keras.saving.load_model("hub/sampler.keras")
    np.testing.assert_array_equal(loaded.predict(z, verbose=0), expected)
