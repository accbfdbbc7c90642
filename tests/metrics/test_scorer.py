"""Scores in a stream, and what they depend on."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl


def classifier(size=8, channels=1, seed=0):
    """Logits and features of images, without training."""
    init = keras.initializers.RandomNormal(seed=seed)
    x = keras.Input((size, size, channels))
    features = keras.layers.Dense(6, "tanh", kernel_initializer=init)(keras.layers.Flatten()(x))
    logits = keras.layers.Dense(4, kernel_initializer=init)(features)
    return keras.Model(x, {"logits": logits, "features": features}, name="little")


def images(n=600, size=8, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, size, size, channels)).astype("float32")


def test_scores_are_the_metrics_of_the_whole():
    """Whatever comes in whichever batches, the scores are those of all at once."""
    model, real, fake = classifier(), images(seed=1), images(seed=2) ** 3
    out, ref = (model.predict(x, verbose=0) for x in (fake, real))
    scorer = kgl.metrics.Scorer(model, real)
    found = scorer(fake)
    spread = kgl.metrics.precision_recall(ref["features"], out["features"])
    splits = kgl.metrics.split_classifier_score(out["logits"])
    expected = {
        "classifier_score": kgl.metrics.classifier_score(out["logits"]),
        "classifier_score_splits": splits.mean,
        "classifier_score_stddev": splits.stddev,
        "frechet_distance": kgl.metrics.frechet_distance(ref["features"], out["features"]),
        "kernel_distance": kgl.metrics.kernel_distance(ref["features"], out["features"]),
        **spread._asdict(),
    }
    assert found.scores == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for again in (
        tf.data.Dataset.from_tensor_slices(fake).batch(7),
        (fake[i : i + 100] for i in range(0, 600, 100)),
    ):
        assert scorer(again).scores == pytest.approx(found.scores, rel=1e-4, abs=1e-6)
    fewer = kgl.metrics.Scorer(model, real, count=500)(fake)
    assert (fewer.conditions["samples"], fewer.conditions["real"]) == (500, 500)
    assert fewer.scores != found.scores


def test_conditions_tell_what_compares():
    real = images(seed=1)
    found = kgl.metrics.Scorer(classifier(), real)(images(300))
    assert kgl.metrics.Scorer(classifier(), real)(images(300, seed=3)).differs_from(found) == []
    line = str(found)
    assert "300 samples against 600 real images" in line
    assert "classifier little (" in line
    assert "resizing: none" in line
    other = kgl.metrics.Scorer(classifier(seed=1), real)(images(200)).differs_from(found)
    assert [d.split(":")[0] for d in other] == ["classifier", "real_features", "samples"]
    # the same, by another name and in another order
    renamed = keras.models.clone_model(classifier())
    renamed.set_weights(classifier().get_weights())
    renamed = keras.Model(renamed.input, renamed.output, name="of_another_name")
    same = kgl.metrics.Scorer(renamed, real[::-1])(images(300))
    assert "of_another_name" in same.conditions["classifier"]
    assert same.differs_from(found) == []


def test_resizing_and_colour():
    """Images of another size are resized, grey ones repeated; both are told."""
    model = classifier(8, 3)
    scorer = kgl.metrics.Scorer(model, images(50, 16, 1))
    large = images(50, 16, 1, seed=1)
    found = scorer(large)
    assert found.conditions["resizing"] == "16x16 to 8x8, bilinear; grey to colour"
    small = tf.image.grayscale_to_rgb(tf.image.resize(large, (8, 8), antialias=True)).numpy()
    scores = kgl.metrics.Scorer(model, images(50, 16, 1))(small).scores
    assert found.scores == pytest.approx(scores, rel=1e-4, abs=1e-6)
    # grey samples beside real images in colour
    coloured = np.repeat(images(50, 16, 1), 3, axis=3)
    mixed = kgl.metrics.Scorer(model, coloured)(large)
    assert mixed.scores == pytest.approx(found.scores, rel=1e-4, abs=1e-6)
    assert "bilinear; grey to colour, of the real images: 16x16 to 8x8, bilinear" in str(mixed)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_precision(dtype):
    """Images, and classifiers, of another precision give the scores of float32."""
    real, fake = (tf.cast(tf.cast(images(60, seed=i), "bfloat16"), dtype) for i in (1, 2))
    model = classifier()
    expected = kgl.metrics.Scorer(model, tf.cast(real, "float32"))(tf.cast(fake, "float32")).scores
    assert kgl.metrics.Scorer(model, real)(fake).scores == pytest.approx(expected, rel=1e-6)
    keras.config.set_dtype_policy("float64")
    double = classifier()
    double.set_weights(model.get_weights())
    found = kgl.metrics.Scorer(double, real)(fake).scores
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_samples_that_are_no_images():
    """NaN in one sample is NaN in every score; values from 0 are seen."""
    scorer = kgl.metrics.Scorer(classifier(), images(50))
    for value in (np.nan, np.inf):
        broken = images(50, seed=1)
        broken[7, 2, 3, 0] = value
        scores = scorer(broken).scores
        assert scores.keys() == scorer(images(50, seed=1)).scores.keys()
        assert np.isnan(list(scores.values())).all()
    with pytest.warns(UserWarning, match="No sample has a value below 0. Expected images in"):
        scorer(np.abs(images(50, seed=1)))


def test_bad_input(tmp_path):
    real = images(20)
    with pytest.raises(TypeError, match="a Keras model, the path of one, or the URL"):
        kgl.metrics.Scorer(3, real)
    with pytest.raises(FileNotFoundError, match="no classifier at"):
        kgl.metrics.Scorer(tmp_path / "none.keras", real)
    x = keras.Input((8, 8, 1))
    logits_only = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(x)), name="bare")
    with pytest.raises(ValueError, match="dict of 'logits' and 'features'. Received from 'bare'"):
        kgl.metrics.Scorer(logits_only, real)
    points = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"takes images.*inputs of shape \(2,\)"):
        kgl.metrics.Scorer(points, real)
    scorer = kgl.metrics.Scorer(classifier(), real)
    with pytest.raises(ValueError, match=r"must be images.*Received: shape \(20, 64\)"):
        scorer(real.reshape(20, 64))
    with pytest.raises(ValueError, match="two images or more"):
        scorer(real[:1])
    with pytest.raises(ValueError, match=r"one shape. Received: \(8, 8, 1\) and \(16, 16, 1\)"):
        scorer([real, images(20, 16)])
    with pytest.raises(TypeError, match="an array of images or an iterable of batches"):
        scorer("images")
    with pytest.raises(TypeError, match="arrays of images. Received: a batch that is a dict"):
        scorer([{"image": real}])
    with pytest.raises(TypeError, match=r"float images in \[-1, 1\]. Received: uint8"):
        scorer((127 * (real + 1)).astype("uint8"))
    with pytest.raises(ValueError, match="takes images of 1 channels. Received: 3"):
        scorer(images(20, 8, 3))
    for outside in (127.5 * (real + 1), (real + 1) / 2, np.where(real > 0.9, np.nan, real)):
        with pytest.raises(ValueError, match=r"`real` must be images in \[-1, 1\]. Received: val"):
            kgl.metrics.Scorer(classifier(), outside)
    maps = keras.Model(x, {"features": x, "logits": keras.layers.Conv2D(3, 1)(x)})
    with pytest.raises(ValueError, match=r"of shape \(batch, classes\). Received from"):
        kgl.metrics.Scorer(maps, real)

    class Own(keras.Model):
        def call(self, x):
            return {"logits": x[:, 0, 0], "features": x[:, 1, 1]}

    with pytest.raises(ValueError, match="whose input shape is known. Received: 'mine', a Own"):
        kgl.metrics.Scorer(Own(name="mine"), real)


def test_hub_module(tmp_path):
    """A Hub module's folder is taken as its URL is; one that cannot be loaded is a clear error."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.random.stateless_normal((3, 5), (1, 2)))

        @tf.function(input_signature=[tf.TensorSpec((None, 299, 299, 3))])
        def __call__(self, x):
            features = tf.reduce_mean(x, [1, 2], keepdims=True)
            return {"pool_3": features, "logits": features[:, 0, 0] @ self.w}

    tf.saved_model.save(Module(), str(tmp_path / "hub"))
    scorer = kgl.metrics.Scorer(tmp_path / "hub", images(12, 16, 3))
    found = scorer(images(12, 16, 3, seed=1))
    assert found.conditions["resizing"] == "16x16 to 299x299, bilinear"
    with pytest.raises(ValueError, match="cannot be loaded.*needs a network the first time"):
        kgl.metrics.Scorer("https://hub.invalid/inception/1", images(12, 16, 3))


def test_sample_batches():
    critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
    tuner = kgl.FineTuner(generator, critic, 0.1, max_layers=2)
    tuner.stack.append()
    z = tuner.latent.sample(600, seed=5)
    for layers in (None, 0):
        found = list(kgl.metrics.sample_batches(tuner, 600, 5, layers))
        assert [len(x) for x in found] == [250, 250, 100]
        np.testing.assert_allclose(np.concatenate(found), tuner(z, layers=layers), atol=1e-6)
    found = np.concatenate(list(kgl.metrics.sample_batches(generator, 10, 5)))
    np.testing.assert_allclose(found, tuner(z[:10], layers=0), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "model"), [("cifar10", "cifar10_resnet56"), ("mnist", "mnist_cnn")]
)
def test_reference_scores_of_real_images(real_data, data, model):
    """The published scores of the classifiers beside the data, to 1e-4."""
    shared = pathlib.Path(real_data).parent / "eval"
    if not shared.is_dir():
        pytest.skip("no classifier beside the data")
    reference = json.loads((shared / "reference_stats.json").read_text())[data]
    load = getattr(kgl.data, data)
    real = load("train[:10000]", batch_size=250, shuffle=False)
    scorer = kgl.metrics.Scorer(shared / f"{model}.keras", real)
    found = scorer(load("test", batch_size=250, shuffle=False)).scores
    mean, stddev = reference["test"]["classifier_score_10_splits"]
    expected = {
        "classifier_score": reference["test"]["classifier_score"],
        "classifier_score_splits": mean,
        "classifier_score_stddev": stddev,
        "frechet_distance": reference["frechet_distance"]["train[:10000] vs test"],
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
