"""Samples of other ranges and layouts than images in [-1, 1], through all that takes samples."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_gradlayer as kgl
from keras_gradlayer import _images, pictures
from tests.metrics.test_scorer import classifier, images


def test_the_map_of_ranges():
    x = np.array([0.0, 0.25, 1.0])
    np.testing.assert_allclose(_images.rescaled(x, (0, 1)), [-1, -0.5, 1])
    np.testing.assert_allclose(_images.rescaled(x, (-1, 1), (0, 255)), [127.5, 159.375, 255])
    for source, target in (((-1, 1), (-1, 1)), ((0, np.inf), (-1, 1)), ((None, 1), (-1, 1))):
        assert _images.rescaled(x, source, target) is x


def test_layouts():
    assert [_images.channels_first(s) for s in ((3, 8, 6), (8, 6, 3), (3, 8, 3), (8,))] == [
        *(True, False, False, False)
    ]
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(_images.channels_last(x)[1, 2, 3], x[1, :, 2, 3])
    np.testing.assert_array_equal(_images.channels_last(tf.constant(x))[1, 2, 3], x[1, :, 2, 3])
    drawn = [pictures.drawable(s) for s in ((2,), (8, 6, 3), (1, 8, 6), (9,), (9, 2), (4, 4, 4, 1))]
    assert drawn == [True, True, True, False, False, False]


def test_scores_do_not_depend_on_range_and_layout():
    real, fake = images(60, channels=3, seed=1), images(60, channels=3, seed=2) ** 3
    model = classifier(channels=3)
    expected = kgl.metrics.Scorer(model, real)(fake)
    for low, high in ((0, 1), (0, 255)):
        scale = (high - low) / 2
        other = kgl.metrics.Scorer(model, low + (real + 1) * scale, value_range=(low, high))
        for found in (
            other(low + (fake + 1) * scale),
            other(fake, value_range=(-1, 1)),
            kgl.metrics.Scorer(model, real)(low + (fake + 1) * scale, value_range=(low, high)),
        ):
            assert found.scores == pytest.approx(expected.scores, rel=1e-3, abs=1e-5)
            assert found.differs_from(expected) == []
    found = kgl.metrics.Scorer(model, np.moveaxis(real, 3, 1))(np.moveaxis(fake, 3, 1))
    assert found.scores == pytest.approx(expected.scores, rel=1e-5, abs=1e-7)
    assert found.differs_from(expected) == []
    with pytest.raises(ValueError, match=r"must be images in \[0, 1\].*values from -0.99"):
        kgl.metrics.Scorer(model, real, value_range=(0, 1))
    with pytest.raises(ValueError, match="`value_range` must be two finite numbers"):
        kgl.metrics.Scorer(model, real, value_range=(0, np.inf))
    with pytest.warns(UserWarning, match=r"No sample has a value below 127.5.*\[0, 255\]"):
        kgl.metrics.Scorer(model, real)(200 + fake, value_range=(0, 255))


def sigmoid_tuner(step_size=0.1):
    generator = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(64),
            layers.Reshape((8, 8, 1)),
            layers.Activation("sigmoid"),
        ]
    )
    x = keras.Input((8, 8, 1))
    return kgl.FineTuner(generator, keras.Model(x, layers.Dense(1)(layers.Flatten()(x))), step_size)


def test_callbacks_and_step_rules_tell_the_scorer_the_range():
    scorer = kgl.metrics.Scorer(classifier(), images(40), count=40)
    search = kgl.step_rules.LineSearch(scorer, samples=40, seed=0)
    tuner = sigmoid_tuner(search)
    scores = kgl.callbacks.Scores(scorer)
    tuner.compile()
    data = (images(32) + 1) / 2
    tuner.fit(data, epochs=1, verbose=0, callbacks=[scores])
    z = tuner.latent.sample(40, seed=0)
    for entry in (scores.history[0], scores.history[-1]):
        samples = 2 * tuner(z, layers=entry["layers"]).numpy() - 1
        expected = scorer(samples).scores["frechet_distance"]
        assert entry["frechet_distance"] == pytest.approx(expected, rel=1e-3)


def channels_first_gan():
    z = keras.Input((4,))
    generator = keras.Model(z, layers.Reshape((3, 4, 6))(layers.Dense(72, "tanh")(z)))
    x = keras.Input((3, 4, 6))
    return generator, keras.Model(x, layers.Dense(1)(layers.Flatten()(x)))


def test_channels_first(tmp_path):
    """Drawn and served as pictures of 4 x 6 pixels."""
    tuner = kgl.FineTuner(*channels_first_gan(), 0.1, max_layers=1)
    tuner.compile()
    data = np.random.default_rng(0).uniform(-1, 1, (32, 3, 4, 6)).astype("float32")
    tuner.fit(data, verbose=0, callbacks=[kgl.callbacks.SampleGrid(tmp_path / "grid", samples=4)])
    assert (tmp_path / "grid" / "by_depth.png").exists()
    folder = kgl.serving.export_sampler(tuner, tmp_path / "model", allowed_batch_sizes=(1, 2))
    with kgl.serving.connect(folder) as client:
        samples, pngs = client.sample([0, 1]), client.image([0, 1])
    for sample, png in zip(samples, pngs):
        shown = tf.io.decode_png(png).numpy()
        assert shown.shape == (4, 6, 3)
        np.testing.assert_allclose(shown / 127.5 - 1, np.moveaxis(sample, 0, 2), atol=1 / 127)


@pytest.mark.parametrize("shape", [(9,), (9, 2), (4, 6, 2, 1)], ids=["table", "series", "voxels"])
def test_samples_that_are_no_images(shape, tmp_path):
    """Of any rank they are moved, scored and exported; no picture is made."""
    z, x = keras.Input((4,)), keras.Input(shape)
    generator = keras.Model(z, layers.Reshape(shape)(layers.Dense(int(np.prod(shape)), "tanh")(z)))
    critic = keras.Model(x, layers.Dense(1)(layers.Flatten()(x)))
    tuner = kgl.FineTuner(generator, critic, 0.1, max_layers=1)
    tuner.compile()
    data = np.random.default_rng(0).uniform(-1, 1, (32, *shape)).astype("float32")
    held_out = data[:16]

    def distance(samples):
        return {"distance": kgl.metrics.sliced_wasserstein(held_out, samples)}

    tuner.fit(data, verbose=0, callbacks=[kgl.callbacks.Scores(distance, samples=16)])
    z = tuner.latent.sample_rows([5, 6])
    folder = kgl.serving.export_sampler(tuner, tmp_path / "model", allowed_batch_sizes=(2,))
    with kgl.serving.connect(folder) as client:
        np.testing.assert_allclose(client.sample([5, 6]), tuner(z), atol=1e-6)
    base = tuner.base(z)
    np.testing.assert_allclose(tuner(z, layers=0), np.tanh(base).reshape(2, *shape), atol=1e-6)
    with pytest.raises(ValueError, match="SampleGrid draws images"):
        kgl.callbacks.SampleGrid(tmp_path / "grid").set_model(tuner)
    assert pictures.sample_picture(io.BytesIO(), tuner(z)) is False


def test_other_numbers_of_channels():
    generator, _ = channels_first_gan()
    x = keras.Input((1, 4, 6))
    critic = keras.Model(x, layers.Dense(1)(layers.Flatten()(x)))
    said = r"`critic` does not take samples of shape \(3, 4, 6\).*a model that takes \(1, 4, 6\)$"
    for make in (kgl.GAN, lambda *parts: kgl.FineTuner(*parts, 0.1)):
        with pytest.raises(ValueError, match=said) as raised:
            make(generator, critic)
        assert "\n" not in str(raised.value)
