"""What the signatures of an exported model give, and what is written beside them."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

import keras_gradlayer as kgl
from keras_gradlayer.serving import messages, warmup
from keras_gradlayer.serving.signatures import source_of
from keras_gradlayer.serving.versions import find_version
from tests import oracles
from tests.serving.conftest import answers, image_gan, image_tuner, perturb, toy_tuner

SEEDS = np.arange(256)
# float32 rounding of a batch in another order; see the row test, which allows no more.
ATOL = 1e-6


def files(folder):
    """What is in a folder, by relative path."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def inputs_for(signatures, latent, depth, n=256):
    """Inputs for every signature, by name."""
    seeds = np.arange(n)
    z = latent.sample_rows(seeds)
    layers = np.array(seeds % (depth + 2), "int32")
    more = {}
    if "conditions" in signatures:
        more = {"condition": np.array(seeds[:, None] % 5, "int32")}
    samples = signatures["serving_default"](latent=z, **more)["samples"]
    given = {
        "serving_default": {"latent": z, **more},
        "sample": {"seed": seeds, **more},
        "sample_layers": {"latent": z, "layers": layers, **more},
        "score": {"samples": samples, **more},
        "image": {"seed": seeds, **more},
        "conditions": {"seed": seeds},
    }
    return {k: {n: tf.constant(v) for n, v in given[k].items()} for k in signatures}


def pixels(pngs):
    return np.stack([tf.io.decode_png(png).numpy() for png in pngs]).astype(int)


@pytest.mark.parametrize("insert", ["top", "bottom", "re_lu"])
def test_fine_tuner_at_every_insertion_point(tmp_path, insert):
    gan = image_gan()
    if insert == "re_lu":
        [*_, insert] = [x.name for x in gan.generator.layers if isinstance(x, keras.layers.ReLU)]
    tuner = perturb(kgl.FineTuner(gan.generator, gan.critic, 0.1, insert=insert, max_layers=8), 3)
    served = answers(kgl.serving.export_sampler(tuner, tmp_path / "m"))
    z = tuner.latent.sample_rows(SEEDS[:8])
    replay = tf.function(tuner.sampler(), autograph=False)
    by_depth = np.stack([replay(z, layers=tf.constant(k)) for k in range(4)])
    assert np.abs(by_depth[3] - by_depth[0]).max() > 100 * ATOL
    np.testing.assert_allclose(by_depth[0], gan.generator(z), rtol=0, atol=ATOL)
    samples = served["serving_default"](latent=z)["samples"]
    np.testing.assert_allclose(samples, by_depth[3], rtol=0, atol=ATOL)
    np.testing.assert_array_equal(served["sample"](seed=tf.constant(SEEDS[:8]))["samples"], samples)
    layers = [0, 1, 2, 3, 4, 100, -1, -100]
    some = served["sample_layers"](latent=z, layers=tf.constant(layers))["samples"]
    expected = by_depth[np.clip(layers, 0, 3), range(8)]
    np.testing.assert_allclose(some, expected, rtol=0, atol=ATOL)
    scores = tuner.critic(samples)[:, 0]
    np.testing.assert_allclose(served["score"](samples=samples)["score"], scores, rtol=1e-5)
    shown = pixels(served["image"](seed=tf.constant(SEEDS[:8]))["image_bytes"].numpy())
    assert np.abs(shown - np.round((samples + 1) * 127.5)).max() <= 1


def test_the_score_is_by_the_critic_that_was_stacked_last(tmp_path, toy):
    """Not by the one that goes on training."""
    tuner, _ = toy
    x = tuner.latent.sample_rows(SEEDS)
    expected, weights = tuner.critic(x)[:, 0], tuner.critic.get_weights()
    try:
        tuner.critic.set_weights([0 * w for w in weights])
        served = answers(kgl.serving.export_sampler(tuner, tmp_path / "m"))
    finally:
        tuner.critic.set_weights(weights)
    np.testing.assert_allclose(served["score"](samples=x)["score"], expected, rtol=1e-5, atol=ATOL)


def test_a_source_is_the_live_model():
    """Nothing is copied: a layer stacked later, and a weight set, show in what it generates."""
    tuner = perturb(kgl.FineTuner(None, oracles.smooth_critic((2,)), 0.1, max_layers=4), 1)
    source, z = source_of(tuner), tuner.latent.sample_rows(SEEDS[:4])
    before = source.generate(z)
    np.testing.assert_allclose(before, tuner(z), atol=ATOL)
    tuner.critic.set_weights([2 * w for w in tuner.critic.get_weights()])
    tuner.stack.append()
    assert np.abs(source.generate(z) - before).max() > 100 * ATOL
    np.testing.assert_allclose(source.generate(z), tuner(z), atol=ATOL)
    np.testing.assert_allclose(source.score(z), tuner.stack.score(z, layer=0), atol=ATOL)


def test_gan(tmp_path):
    gan = image_gan()
    served = answers(kgl.serving.export_sampler(gan, tmp_path / "m"))
    z = gan.latent.sample_rows(SEEDS[:8])
    samples = served["serving_default"](latent=z)["samples"]
    np.testing.assert_allclose(samples, gan(z), rtol=0, atol=ATOL)
    # a caller need not know whether this version has gradient layers
    layers = tf.constant([0, 1] * 4)
    np.testing.assert_array_equal(
        served["sample_layers"](latent=z, layers=layers)["samples"], samples
    )
    np.testing.assert_allclose(
        served["score"](samples=samples)["score"], gan.critic(samples)[:, 0], rtol=1e-5
    )


class Subclassed(keras.Model):
    """Neither Functional nor with a config that could rebuild it."""

    def __init__(self, units):
        super().__init__()
        # attributes that trainers have, too
        self.latent = keras.layers.Dense(units)
        self.stack = self.critic = self.sampler = keras.layers.Dense(1)

    def call(self, z):
        return keras.ops.tanh(self.latent(z))


def test_any_keras_model(tmp_path):
    model = Subclassed(5)
    latent = kgl.latents.Uniform((3,))
    folder = kgl.serving.export_sampler(model, tmp_path / "m", latent=latent)
    served, z = answers(folder), latent.sample_rows(SEEDS)
    assert set(served) == {"serving_default", "sample", "sample_layers"}
    np.testing.assert_allclose(
        served["sample"](seed=tf.constant(SEEDS))["samples"], model(z), atol=ATOL
    )
    assert kgl.serving.read_metadata(folder)["data_range"] == [None, None]


def test_saved_files_and_policies(tmp_path):
    """A tuner and a sampler from their files, and a half-precision model."""
    tuner = toy_tuner(3)
    tuner.save(tmp_path / "tuner.keras")
    tuner.sampler().save(tmp_path / "sampler.keras")
    z = tuner.latent.sample_rows(SEEDS)
    for name in ("tuner", "sampler"):
        model = keras.saving.load_model(tmp_path / f"{name}.keras")
        served = answers(kgl.serving.export_sampler(model, tmp_path / name))
        np.testing.assert_allclose(
            served["serving_default"](latent=z)["samples"], tuner(z), atol=ATOL
        )
    keras.config.set_dtype_policy("mixed_bfloat16")
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,), dtype=None))
    assert gan(gan.latent.sample_rows([0])).dtype == "bfloat16"
    served = answers(kgl.serving.export_sampler(gan, tmp_path / "half"))
    samples = served["sample"](seed=tf.constant(SEEDS))["samples"]
    assert samples.dtype == "float32"
    expected = gan(gan.latent.sample_rows(SEEDS))
    np.testing.assert_allclose(samples, tf.cast(expected, "float32"), atol=2**-7)
    assert served["score"](samples=samples)["score"].dtype == "float32"


@pytest.mark.parametrize("which", ["toy", "images"])
def test_a_row_does_not_depend_on_the_others(request, which):
    tuner, folder = request.getfixturevalue(which)
    served = answers(folder)
    for name, given in inputs_for(served, tuner.latent, tuner.stack.depth).items():
        [together] = served[name](**given).values()
        for i in [0, 1, 2, 3, 100, 255]:
            [alone] = served[name](**{k: v[i : i + 1] for k, v in given.items()}).values()
            if together.dtype == tf.string:
                assert (
                    np.abs(pixels(alone.numpy()) - pixels(together[i : i + 1].numpy())).max() <= 1
                )
            else:
                np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=ATOL)


def test_zero_rows_and_nan_rows(images):
    tuner, folder = images
    served = answers(folder)
    given = inputs_for(served, tuner.latent, 3, n=4)
    for name, inputs in given.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expected one or more rows"):
            served[name](**{k: v[:0] for k, v in inputs.items()})
    for name in ("serving_default", "sample_layers", "score"):
        inputs = dict(given[name])
        key = "samples" if name == "score" else "latent"
        [before] = served[name](**inputs).values()
        rows = inputs[key].numpy()
        rows[1] = np.nan
        inputs[key] = tf.constant(rows)
        [after] = served[name](**inputs).values()
        assert np.isnan(after[1]).all()
        keep = [0, 2, 3]
        np.testing.assert_allclose(
            tf.gather(after, keep), tf.gather(before, keep), rtol=0, atol=ATOL
        )


@pytest.mark.parametrize(
    "inputs",
    [
        {"latent": tf.zeros((2, 9))},
        {"latent": tf.zeros((8,))},
        {"latent": tf.zeros((2, 8), "float64")},
        {"seed": tf.constant([1])},
    ],
)
def test_wrong_requests_are_refused_by_the_model(images, inputs):
    served = answers(images[1])
    with pytest.raises((ValueError, TypeError, tf.errors.InvalidArgumentError)):
        served["serving_default"](**inputs)


def nodes(folder):
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = graph.meta_graphs[0].graph_def
    return len(graph.node) + sum(len(f.node_def) for f in graph.library.function)


@pytest.mark.parametrize(("make", "most"), [(toy_tuner, 200), (image_tuner, 30)])
def test_size(tmp_path, make, most):
    """The graph is as large for many layers as for one; the files hold little but the weights."""
    folders = {}
    for depth in (1, most):
        tuner = make(1)
        if depth > 1:
            tuner = kgl.FineTuner(
                tuner.generator, tuner.critic, 1e-3, insert="top", max_layers=depth
            )
            for _ in range(depth):
                tuner.stack.append()
        folders[depth] = folder = kgl.serving.export_sampler(tuner, tmp_path / str(depth))
        generator = tuner.generator.variables if tuner.generator else []
        weights = 4 * sum(np.prod(v.shape) for v in generator)
        weights += 4 * depth * sum(np.prod(v.shape) for v in tuner.critic.variables)
        on_disk = sum(len(content) for content in files(folder).values())
        assert weights < on_disk <= 1.02 * weights + 200_000
    assert nodes(folders[1]) == nodes(folders[most]) > 100


def test_no_variable_is_saved_that_is_not_used(tmp_path, toy):
    """The critic in training, and room for more layers, stay behind."""
    tuner, folder = toy
    loaded = tf.saved_model.load(str(find_version(folder)))
    critic = sum(int(np.prod(v.shape)) for v in tuner.critic.variables)
    values = sum(int(np.prod(v.shape)) for v in loaded.weights)
    assert values == 20 * critic + 20 + 1  # the step sizes and the depth


def test_loads_where_this_package_is_not(images, tmp_path):
    """A process that has TensorFlow alone."""
    tuner, folder = images
    code = f"""
import sys, numpy as np, tensorflow as tf
served = tf.saved_model.load({str(find_version(folder))!r}).signatures
samples = served["sample"](seed=tf.range(4, dtype="int64"))["samples"]
np.save({str(tmp_path / "samples.npy")!r}, samples)
assert "keras_gradlayer" not in sys.modules
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    expected = tuner(tuner.latent.sample_rows(SEEDS[:4]))
    np.testing.assert_allclose(np.load(tmp_path / "samples.npy"), expected, rtol=0, atol=1e-5)


def test_metadata(tmp_path):
    tuner = toy_tuner(2, steps_per_layer=3)
    scores = {"frechet_distance": 15.4}
    folder = kgl.serving.export_sampler(
        tuner, tmp_path / "m", scores=scores, allowed_batch_sizes=(1, 4)
    )
    facts = kgl.serving.read_metadata(tmp_path / "m")
    assert facts == kgl.serving.read_metadata(folder)
    latent = keras.saving.deserialize_keras_object(facts.pop("latent"))
    np.testing.assert_array_equal(latent.sample_rows([5]), tuner.latent.sample_rows([5]))
    assert facts.pop("versions") == {
        "keras_gradlayer": kgl.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    assert facts == {
        "name": tuner.name,
        "step_size": 0.1,
        "step_sizes": [0.1, 0.1],
        "depth": 2,
        "steps_per_layer": 3,
        "latent_shape": [2],
        "condition_shape": None,
        "sample_shape": [2],
        "data_range": [-1.0, 1.0],
        "allowed_batch_sizes": [1, 4],
        "scores": scores,
    }
    shutil.rmtree(folder / "assets.extra")
    with pytest.raises(ValueError, match="made by `export_sampler`"):
        kgl.serving.read_metadata(folder)


def test_data_range_of_images(tmp_path):
    """Samples in other ranges make the same pictures."""
    for low, high, last in ((0, 1, "sigmoid"), (-3, 5, "linear")):
        generator = keras.Sequential(
            [
                keras.layers.Input((2,)),
                keras.layers.Dense(12, last, kernel_initializer="random_normal"),
                keras.layers.Reshape((2, 2, 3)),
            ]
        )
        data_range = None if last == "sigmoid" else (low, high)
        folder = kgl.serving.export_sampler(generator, tmp_path / last, data_range=data_range)
        assert kgl.serving.read_metadata(folder)["data_range"] == [low, high]
        with kgl.serving.connect(folder) as client:
            samples = client.sample(SEEDS[:5])
            expected = 255 * np.clip((samples - low) / (high - low), 0, 1)
            assert np.abs(pixels(client.image(SEEDS[:5])) - expected).max() <= 0.501


def test_warmup_requests(images, tmp_path):
    """One for each signature and batch size, the same bytes each time, and they succeed."""
    _, folder = images
    version = find_version(folder)
    seen, loaded = set(), tf.saved_model.load(str(version))
    for request in warmup.read_warmup(version):
        signature = loaded.signatures[request.model_spec.signature_name]
        outputs = warmup.replay(signature, request)
        [rows] = {p.tensor_shape.dim[0].size for p in request.inputs.values()}
        assert {len(v) for v in outputs.values()} == {rows}
        assert request.model_spec.name == "sampler"
        seen.add((request.model_spec.signature_name, rows))
    assert seen == {(name, n) for name in loaded.signatures for n in (1, 8, 64)}
    written = (version / warmup.FILE).read_bytes()
    assert len(written) < 10_000
    (tmp_path / "assets.extra").mkdir()
    warmup.write_warmup(tmp_path, "sampler", loaded.signatures, (1, 8, 64))
    assert (tmp_path / warmup.FILE).read_bytes() == written


def test_messages_are_those_of_the_server():
    """Each field has the number, type and label that TensorFlow Serving's own package gives it."""
    theirs = {
        message.DESCRIPTOR.name: message.DESCRIPTOR
        for module in (model_pb2, predict_pb2, prediction_log_pb2, get_model_metadata_pb2)
        for message in vars(module).values()
        if hasattr(message, "DESCRIPTOR") and hasattr(message, "FromString")
    }

    def fields(descriptor):
        found = {
            f.name: (f.number, f.type, f.default_value == [], f.message_type)
            for f in descriptor.fields
        }
        return {k: (*v[:3], v[3] and v[3].full_name.split(".", 1)[-1]) for k, v in found.items()}

    ours = [m for n, m in vars(messages).items() if n in theirs]
    assert len(ours) == 8
    for message in ours:
        real = fields(theirs[message.DESCRIPTOR.name])
        for name, (number, kind, repeated, inner) in fields(message.DESCRIPTOR).items():
            assert real[name][:3] == (number, kind, repeated)
            assert (real[name][3] or "").endswith((inner or "").split(".")[-1])
