import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow adds three gradients or more in the order in which their buffers fall free. With one
# thread that is always the same, so that runs can be compared to the last bit.
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import pytest


def pytest_collection_modifyitems(items):
    """Whole commands and results first: no worker has one of these long files left at the end."""
    items.sort(key=lambda item: len(item.path.parts))


@pytest.fixture(autouse=True, scope="module")
def _collected():
    """What a file leaves behind is not gone through again at each collection: graphs are large."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _reproducible():
    """Every test starts from the same seed and leaves no policy behind."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def _without_xla(request, monkeypatch):
    """Tests that are for XLA ask for it: compiling takes a while."""
    from keras_gradlayer import _xla

    if request.node.path.name != "test_xla.py":
        monkeypatch.setattr(_xla, "pays", lambda *models: False)


@pytest.fixture
def real_data():
    """The folder of the real data sets, where there is one."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not os.path.isdir(os.path.join(folder, "cifar10")):
        pytest.skip("TFDS_DATA_DIR does not name a folder that holds cifar10")
    return folder


@pytest.fixture
def models(tmp_path):
    """A small GAN's files."""
    import keras_gradlayer as kgl  # here, for coverage is not counting yet when this file is read

    kgl.models.dcgan_generator((8, 8, 3), latent_dim=4, width=2).save(tmp_path / "g.keras")
    kgl.models.dcgan_critic((8, 8, 3), width=2).save(tmp_path / "c.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3))
    (tmp_path / "images").mkdir()
    for i, image in enumerate(pixels):
        keras.utils.save_img(tmp_path / "images" / f"{i}.png", image, scale=False)
    return tmp_path


@pytest.fixture
def classifier(models):
    """A classifier of 8x8 images that was never trained."""
    x = keras.Input((8, 8, 3))
    features = keras.layers.Dense(4)(keras.layers.Flatten()(x))
    model = keras.Model(x, {"features": features, "logits": keras.layers.Dense(3)(features)})
    model.save(models / "judge.keras")
    return models / "judge.keras"
