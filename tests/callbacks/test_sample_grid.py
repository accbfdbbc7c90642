"""Pictures of the same samples, epoch by epoch."""

import keras
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from keras_gradlayer import pictures
from tests import oracles


def fit(model, data, *callbacks, epochs=3):
    model.fit(data, batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks)


def image_tuner():
    generator = kgl.models.dcgan_generator((8, 8, 1), 4, 4)
    tuner = kgl.FineTuner(generator, kgl.models.dcgan_critic((8, 8, 1), 4), 0.5)
    tuner.compile()
    return tuner


IMAGES = np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 1)).astype("float32")


def test_the_same_latents_by_depth(tmp_path, monkeypatch):
    drawn, strips = {}, []
    draw, draw_strip = pictures.sample_picture, pictures.strip

    def sample_picture(path, samples):
        drawn[path.name] = samples
        draw(path, samples)

    def strip(path, steps, titles):
        strips.append((steps, titles))
        draw_strip(path, steps, titles)

    monkeypatch.setattr(pictures, "sample_picture", sample_picture)
    monkeypatch.setattr(pictures, "strip", strip)
    tuner = image_tuner()
    fit(tuner, IMAGES, kgl.callbacks.SampleGrid(tmp_path / "grid", samples=9, seed=3))
    z = tuner.latent.sample(9, seed=3)
    assert list(drawn) == [f"layers_{k:04d}.png" for k in range(4)]
    for k in range(4):
        np.testing.assert_allclose(drawn[f"layers_{k:04d}.png"], tuner(z, layers=k), atol=1e-5)
    steps, titles = strips[0]
    assert titles == ["0 layers", "1 layers", "2 layers", "3 layers"]
    np.testing.assert_allclose(steps[2], tuner(z[:8], layers=2), atol=1e-5)
    picture = matplotlib.image.imread(tmp_path / "grid" / "by_depth.png")
    assert picture.std() > 0.05

    # what TensorBoard is shown
    (events,) = (tmp_path / "grid").glob("events*")
    seen = [
        (value.tag, event.step)
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    ]
    assert seen == [*(("samples", k) for k in range(4)), ("by_depth", 0)]


def test_the_row_is_whole_after_a_resume(tmp_path, monkeypatch):
    strips, draw_strip = [], pictures.strip
    monkeypatch.setattr(pictures, "strip", lambda *a: strips.append(a[1:]) or draw_strip(*a))
    tuner = image_tuner()
    fit(tuner, IMAGES, epochs=2)
    fit(tuner, IMAGES, kgl.callbacks.SampleGrid(tmp_path / "grid", samples=9), epochs=1)
    steps, titles = strips[0]
    assert titles == ["0 layers", "1 layers", "2 layers", "3 layers"]
    z = tuner.latent.sample(9, seed=0)
    for k in range(4):
        np.testing.assert_allclose(steps[k], tuner(z[:8], layers=k), atol=1e-5)


def test_points_and_gans(tmp_path):
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    fit(gan, oracles.points(), kgl.callbacks.SampleGrid(tmp_path / "g", every=2, samples=50))
    names = sorted(p.name for p in (tmp_path / "g").glob("*.png"))
    assert names == ["by_depth.png", "epoch_0000.png", "epoch_0002.png", "epoch_0003.png"]


def test_pictures_of_another_run_stay(tmp_path):
    tuner = image_tuner()
    fit(tuner, IMAGES, kgl.callbacks.SampleGrid(tmp_path), epochs=1)
    before = (tmp_path / "layers_0001.png").read_bytes()
    with pytest.raises(ValueError, match="`directory` must be new or empty when a run begins"):
        fit(image_tuner(), IMAGES, kgl.callbacks.SampleGrid(tmp_path), epochs=1)
    assert (tmp_path / "layers_0001.png").read_bytes() == before
    own = tmp_path / "mine" / "layers_0000.png"  # by a name of ours, but not from a run
    own.parent.mkdir()
    own.write_bytes(before)
    with pytest.raises(ValueError, match="`directory` must be new or empty when a run begins"):
        fit(image_tuner(), IMAGES, kgl.callbacks.SampleGrid(own.parent), epochs=1)
    assert own.read_bytes() == before


def test_bad_input(tmp_path):
    critic = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    tuner = kgl.FineTuner(None, critic, 0.1)
    with pytest.raises(ValueError, match=r"draws images.*Received: samples of shape \(3,\)"):
        kgl.callbacks.SampleGrid(tmp_path).set_model(tuner)
    with pytest.raises(TypeError, match="for models with a `latent`"):
        kgl.callbacks.SampleGrid(tmp_path).set_model(critic)
