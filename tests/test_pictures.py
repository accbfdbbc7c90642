import builtins

import matplotlib.image
import numpy as np
import pytest

from keras_gradlayer import pictures


def test_a_grid_shows_each_image_where_it_belongs(tmp_path):
    """Rows first, each pixel a square of one colour, with gaps between images."""
    images = np.linspace(-1, 1, 6 * 4 * 5 * 3).reshape(6, 4, 5, 3)
    assert pictures.sample_picture(tmp_path / "p.png", images)
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape == (2 * (64 + 4), 3 * (80 + 4), 3)  # 16 pixels each, and the gaps
    for i, image in enumerate(images):
        top, left = (i // 3) * 68 + 2, (i % 3) * 84 + 2
        seen = picture[top : top + 64, left : left + 80].reshape(4, 16, 5, 16, 3)
        assert not np.ptp(seen, axis=(1, 3)).any()
        np.testing.assert_allclose(seen[:, 8, :, 8], image / 2 + 0.5, atol=0.51 / 255)
    assert (picture[:2] == 1).all()
    assert (picture[:, 82:86] == 1).all()


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
