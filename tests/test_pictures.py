import builtins

import keras
import matplotlib.image
import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest

import keras_gradlayer as kgl
from keras_gradlayer import pictures
from tests import oracles


def test_a_grid_shows_each_image_where_it_belongs(tmp_path):
    """Rows first, each pixel a square of one colour, with nothing between images."""
    images = np.linspace(-1, 1, 6 * 4 * 5 * 3).reshape(6, 4, 5, 3)
    assert pictures.sample_picture(tmp_path / "p.png", images)
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape == (2 * 64, 3 * 80, 3)  # 16 pixels each
    for i, image in enumerate(images):
        top, left = (i // 3) * 64, (i % 3) * 80
        seen = picture[top : top + 64, left : left + 80].reshape(4, 16, 5, 16, 3)
        assert not np.ptp(seen, axis=(1, 3)).any()
        np.testing.assert_allclose(seen[:, 8, :, 8], image / 2 + 0.5, atol=0.51 / 255)


def test_a_strip_has_a_column_for_each_step_up_to_the_edges(tmp_path):
    steps = [np.linspace(-1, 1, 2 * 64 * 3).reshape(2, 8, 8, 3) * sign for sign in (1, -1, 0.5)]
    pictures.strip(tmp_path / "p.png", steps, ["0 layers", "1 layers", "2 layers"])
    picture = matplotlib.image.imread(tmp_path / "p.png")[..., :3]
    assert picture.shape[1] == 3 * 64
    seen = picture[-2 * 64 :].reshape(2, 8, 8, 3, 8, 8, 3)
    assert np.ptp(seen, axis=(2, 5)).max() == 0
    for i, images in enumerate(steps):  # Matplotlib rounds down
        np.testing.assert_allclose(seen[:, :, 4, i, :, 4], images / 2 + 0.5, atol=1.01 / 255)


def test_what_has_no_picture(tmp_path):
    for shape in ((4, 5), (4, 8, 8, 2)):
        assert not pictures.sample_picture(tmp_path / "p.png", np.zeros(shape))
    assert not (tmp_path / "p.png").exists()


def test_values_without_a_colour(tmp_path):
    """A diverged sample is drawn in some colour of the range, and stops nothing."""
    images = np.full((1, 2, 2, 1), np.nan)
    assert pictures.sample_picture(tmp_path / "p.png", images)


def test_columns_of_a_log(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,wasserstein,other\n0,0.5,1\n1,0.25,2\n")
    pictures.log_curves(tmp_path / "p.png", log, "epoch")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    pictures.log_curves(tmp_path / "none.png", log, "epoch", names=["penalty"])
    assert not (tmp_path / "none.png").exists()


def test_without_matplotlib(monkeypatch, tmp_path):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert pictures.sample_picture(tmp_path / "p.png", np.zeros((1, 2, 2, 3)))
    with pytest.raises(ImportError, match=r"pip install 'keras-gradlayer\[plots\]'"):
        pictures.sample_picture(tmp_path / "p.png", np.zeros((4, 2)))


def flow(critic, layers=3, generator=None):
    tuner = kgl.FineTuner(generator, critic, 0.2, max_layers=max(layers, 1))
    for k in range(layers):
        tuner.stack.append(step_size=0.2 + 0.1 * k)
    return tuner


def frames(path):
    with PIL.Image.open(path) as image:
        images = [f.convert("RGB") for f in PIL.ImageSequence.Iterator(image)]
        image.seek(0)
        return [np.asarray(f) for f in images], image.info["loop"]


def test_a_flow_is_animated_layer_by_layer(tmp_path, monkeypatch):
    drawn, draw = [], pictures._animate
    monkeypatch.setattr(pictures, "_animate", lambda *a: drawn.append(a) or draw(*a))
    tuner = flow(oracles.smooth_critic((2,)))
    z = tuner.latent.sample(200, seed=0)
    for sampler in (tuner, tuner.sampler()):
        pictures.animate_flow(sampler, z, tmp_path / "flow.gif", data=np.zeros((1, 2)))
        _, depths, samples, _, _ = drawn.pop()
        assert depths.tolist() == [0, 1, 2, 3]
        for k in range(4):  # one layer after the other, as all at once
            np.testing.assert_allclose(samples[k], tuner(z, layers=k), atol=1e-6)
    shown, loop = frames(tmp_path / "flow.gif")
    assert loop == 0  # for ever
    assert len(shown) == 4
    assert all(np.any(a != b) for a, b in zip(shown, shown[1:]))
    orange = (np.abs(shown[0].astype(int) - (255, 127, 14)) < 40).all(axis=-1)
    assert orange[190:215, 165:187].any()  # the one point of data, in the middle of the panel


def test_a_flow_of_many_layers_has_fifty_steps(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "_animate", lambda *a: drawn.append(a))
    tuner = flow(oracles.smooth_critic((2,)), layers=60)
    z = tuner.latent.sample(5, seed=0)
    pictures.animate_flow(tuner, z, tmp_path / "flow.gif")
    _, depths, samples, *_ = drawn.pop()
    assert (len(depths), depths[0], depths[-1]) == (51, 0, 60)
    assert set(np.diff(depths)) == {1, 2}
    np.testing.assert_allclose(samples[-1], tuner(z), atol=1e-5)


def test_noise_and_conditions_are_those_of_the_sampler(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "_animate", lambda *a: drawn.append(a))
    noisy = kgl.refine(None, oracles.smooth_critic((2,)), 0.1, 3, temperature=0.1)
    z = noisy.latent.sample(5, seed=0)
    pictures.animate_flow(noisy, z, tmp_path / "flow.gif")
    np.testing.assert_allclose(drawn.pop()[2][-1], noisy(z), atol=1e-6)

    x, c = keras.Input((2,)), keras.Input((3,))
    both = keras.layers.Concatenate()([x, c])
    critic = keras.Model([x, c], keras.layers.Dense(1)(keras.layers.Dense(8, "tanh")(both)))
    generator = keras.Model([x, c], keras.layers.Dense(2, "tanh")(both))
    tuner = flow(critic, generator=generator)
    classes = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1]]
    z = tuner.latent.sample(5, seed=0)
    pictures.animate_flow(tuner, [z, classes], tmp_path / "flow.gif")
    np.testing.assert_allclose(drawn.pop()[2][-1], tuner(z, condition=classes), atol=1e-6)


def test_images_on_their_way(tmp_path):
    """The last frame is the grid of the last samples, under a title."""
    generator = kgl.models.dcgan_generator((8, 8, 1), 4, 4)
    sampler = kgl.refine(generator, kgl.models.dcgan_critic((8, 8, 1), 4), 1.0, 2)
    z = sampler.latent.sample(4, seed=0)
    pictures.animate_flow(sampler, z, tmp_path / "flow.gif")
    pictures.sample_picture(tmp_path / "p.png", sampler(z), sampler.output_range())
    expected = 255 * matplotlib.image.imread(tmp_path / "p.png")
    shown, _ = frames(tmp_path / "flow.gif")
    assert len(shown) == 2
    assert shown[-1].shape[1] == expected.shape[1]
    # Pillow makes its own palette of 256 colours, and dithers.
    assert np.abs(shown[-1][-len(expected) :] - expected).mean() < 3


def test_what_is_not_animated(tmp_path):
    two = flow(oracles.smooth_critic((2,)))
    z = two.latent.sample(3, seed=0)
    path = tmp_path / "flow.gif"
    for arguments, error, message in (
        ((two, z, tmp_path / "flow.mp4"), ValueError, r"must end with \.gif. Received.*flow.mp4"),
        ((two, z, 3), TypeError, "`path` must be a path"),
        (
            (oracles.smooth_critic((2,)), z, path),
            TypeError,
            r"kgl.Sampler or a kgl.FineTuner.*a Seq",
        ),
        ((flow(oracles.smooth_critic((2,)), 0), z, path), ValueError, "Received: a sampler of 0 l"),
        ((flow(oracles.smooth_critic((3,))), z, path), ValueError, r"samples of shape \(3,\)"),
        ((two, z[:, :1], path), ValueError, r"shape \(n, 2\). Received: \(3, 1\)"),
        ((two, z, path, z[:, :1]), ValueError, r"points \(n, 2\).*data of shape \(3, 1\)"),
    ):
        with pytest.raises(error, match=message):
            pictures.animate_flow(*arguments)
    assert not path.exists()
