"""Pictures of the same samples, epoch by epoch."""

import importlib.util

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


PNG = tf.io.encode_png(np.zeros((2, 2, 3), "uint8")).numpy()
IMAGES = np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 1)).astype("float32")


def test_the_same_latents_by_depth(tmp_path, monkeypatch):
    drawn, strips = {}, []
    draw, draw_strip = pictures.sample_picture, pictures.strip

    def sample_picture(path, samples, value_range):
        drawn[path.name] = samples
        draw(path, samples, value_range)

    def strip(path, steps, titles, value_range):
        strips.append((steps, titles))
        draw_strip(path, steps, titles, value_range)

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
    steps, titles, _ = strips[0]
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


def test_the_last_is_drawn_where_a_later_callback_stops(tmp_path):
    tuner = image_tuner()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(tuner, "stop_training", epoch == 2)
    )
    fit(tuner, IMAGES, kgl.callbacks.SampleGrid(tmp_path, every=2), stop, epochs=9)
    names = sorted(p.name for p in tmp_path.glob("layers*.png"))
    assert names == ["layers_0000.png", "layers_0002.png", "layers_0003.png"]


def test_a_gan_that_is_gone_on_with(tmp_path, monkeypatch):
    """The same object goes on with its row; another begins one of its own, and leaves the first."""
    rows, draw_strip = [], pictures.strip
    monkeypatch.setattr(pictures, "strip", lambda *a: rows.append(a[2]) or draw_strip(*a))
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    grid = kgl.callbacks.SampleGrid(tmp_path, samples=20)
    fit(gan, oracles.points(), grid, epochs=1)
    gan.fit(oracles.points(), epochs=3, initial_epoch=1, callbacks=[grid], verbose=0)
    assert rows == [["epoch 0", "epoch 1"], ["epoch 0", "epoch 1", "epoch 2", "epoch 3"]]
    before = (tmp_path / "by_depth.png").read_bytes()
    grid = kgl.callbacks.SampleGrid(tmp_path, samples=20)
    gan.fit(oracles.points(), epochs=4, initial_epoch=3, callbacks=[grid], verbose=0)
    assert rows[2] == ["epoch 3", "epoch 4"]
    assert (tmp_path / "by_depth.png").read_bytes() == before
    assert (tmp_path / "by_depth_0003.png").exists()


def test_grey_levels_are_those_of_the_samples(tmp_path):
    """No image's contrast is stretched, and a range of one's own is black to white."""
    levels = np.array([-1, -0.5, 0, 1], "float32")
    flat = np.tile(levels[:, None, None, None], (1, 8, 8, 1))
    for draw in (
        lambda path, x, *bounds: pictures.sample_picture(path, x, *bounds),
        lambda path, x, *bounds: pictures.strip(path, [x], ["0 layers"], *bounds),
    ):
        own = flat / 2 + 0.5
        for images, bounds in ((flat, ()), (own, ((0, 1),)), (flat, ((-np.inf, np.inf),))):
            draw(tmp_path / "p.png", images, *bounds)
            picture = matplotlib.image.imread(tmp_path / "p.png")[..., :3]
            for level in levels / 2 + 0.5:  # a sixteenth of a grid of four, and more, is of each
                assert np.mean(np.all(np.abs(picture - level) < 0.01, axis=-1)) > 0.02


def test_the_range_of_a_sigmoid_is_black_to_white(tmp_path, monkeypatch):
    ranges = []
    monkeypatch.setattr(pictures, "sample_picture", lambda path, x, r: path.write_bytes(PNG))
    monkeypatch.setattr(pictures, "strip", lambda *a: ranges.append(a[3]) or a[0].write_bytes(PNG))
    for activation, expected in (("sigmoid", (0, 1)), ("tanh", (-1, 1))):
        z = keras.Input((4,))
        x = keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64)(z))
        generator = keras.Model(z, keras.layers.Activation(activation)(x))
        tuner = kgl.FineTuner(generator, kgl.models.dcgan_critic((8, 8, 1), 4), 0.5)
        tuner.compile()
        fit(tuner, IMAGES, kgl.callbacks.SampleGrid(tmp_path / activation), epochs=1)
        assert ranges.pop() == expected


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


def test_without_tensorboard(tmp_path, monkeypatch):
    """TensorFlow 2.21 does not bring it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "tensorboard" else find(name, *a),
    )
    fit(image_tuner(), IMAGES, kgl.callbacks.SampleGrid(tmp_path), epochs=1)
    assert (tmp_path / "by_depth.png").exists()
    assert not list(tmp_path.glob("events*"))


def test_bad_input(tmp_path):
    critic = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    tuner = kgl.FineTuner(None, critic, 0.1)
    with pytest.raises(ValueError, match=r"draws images.*Received: samples of shape \(3,\)"):
        kgl.callbacks.SampleGrid(tmp_path).set_model(tuner)
    with pytest.raises(TypeError, match="for models with a `latent`"):
        kgl.callbacks.SampleGrid(tmp_path).set_model(critic)
