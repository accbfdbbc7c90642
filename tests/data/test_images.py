import pathlib
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_gradlayer as kgl


def batches(data):
    return list(data.as_numpy_iterator())


@pytest.mark.parametrize(
    ("load", "shape"),
    [
        (kgl.data.cifar10, (32, 32, 3)),
        (kgl.data.mnist, (28, 28, 1)),
        (kgl.data.stacked_mnist, (28, 28, 3)),
        (kgl.data.stl10, (48, 48, 3)),
    ],
)
def test_loaders_on_mock_data(load, shape):
    with tfds.testing.mock_data(num_examples=20):
        data = load(batch_size=8, seed=1)
        assert data.element_spec.shape == (8, *shape)
        first, second = np.concatenate(batches(data)), np.concatenate(batches(data))
        assert first.shape == (16, *shape)  # the last, smaller batch is dropped
        assert first.dtype == np.float32
        assert -1 <= first.min() < first.max() <= 1
        assert not np.array_equal(first, second)  # shuffled at each epoch
        repeat = np.concatenate(batches(load(batch_size=8, seed=1)))
        np.testing.assert_array_equal(first, repeat)
        plain = load(batch_size=20, shuffle=False)
        np.testing.assert_array_equal(batches(plain)[0], batches(plain)[0])
        with pytest.raises(ValueError, match="batch_size=21 for 20 images"):
            load(batch_size=21)


def test_without_tensorflow_datasets(monkeypatch):
    """Not installed, or, after an error that it swallows, without what it should have."""
    for broken in (None, types.ModuleType("tensorflow_datasets")):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", broken)
        with pytest.raises(ImportError, match=r"cifar10, .*pip install 'keras-gradlayer\[data\]'"):
            kgl.data.cifar10()
    assert next(iter(kgl.data.swiss_roll())).shape == (50, 2)


def test_bad_arguments_come_before_the_data(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    for load in (kgl.data.cifar10, kgl.data.stacked_mnist):
        for seed in (1.5, True, -1, "1"):
            with pytest.raises(ValueError, match="`seed` must be an integer of at least 0"):
                load(seed=seed)
        with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1"):
            load(batch_size=0)


def test_stl10_halves_by_area():
    with tfds.testing.mock_data(num_examples=4):
        raw = tfds.load("stl10", split="unlabelled")
        raw = np.stack([x["image"] for x in tfds.as_numpy(raw)]).astype("float64")
        ours = batches(kgl.data.stl10(batch_size=4, shuffle=False))[0]
    halved = raw.reshape(4, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    # rounded to bytes: half a step of 1/127.5
    np.testing.assert_allclose(ours, halved / 127.5 - 1, atol=0.5 / 127.5 + 1e-6)


def test_real_cifar10_and_mnist(real_data):
    for name, load in (("cifar10", kgl.data.cifar10), ("mnist", kgl.data.mnist)):
        ours = batches(load("test[:64]", batch_size=64, shuffle=False))[0]
        raw = tfds.load(name, split="test[:64]")
        raw = np.stack([x["image"] for x in tfds.as_numpy(raw)])
        assert raw.std() > 50  # pictures, not zeros
        np.testing.assert_allclose(ours, raw / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_folder(tmp_path, channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 16, 16, channels)).astype("uint8")
    (tmp_path / "inside").mkdir()
    for i, image in enumerate(pixels):
        folder = tmp_path if i else tmp_path / "inside"
        keras.utils.save_img(folder / f"{i}.png", image, scale=False)
    shape = (16, 16, channels)
    data = kgl.data.image_folder(tmp_path, shape, batch_size=5, shuffle=False)
    found = batches(data)[0]
    expected = pixels / 127.5 - 1
    for image in expected:
        assert np.isclose(found, image, atol=1e-6).all(axis=(1, 2, 3)).sum() == 1
    small = kgl.data.image_folder(tmp_path, (8, 8, channels), batch_size=2)
    assert small.element_spec.shape == (2, 8, 8, channels)
    with pytest.raises(ValueError, match="batch_size=6 for 5 images"):
        kgl.data.image_folder(tmp_path, shape, batch_size=6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="No images found"):
        kgl.data.image_folder(tmp_path / "empty", shape)


def test_stacked_mnist_is_three_digits():
    with tfds.testing.mock_data(num_examples=20):
        [digits] = batches(kgl.data.mnist(batch_size=20, shuffle=False))
        [plain] = batches(kgl.data.stacked_mnist(batch_size=20, shuffle=False))
        for i in range(3):
            np.testing.assert_array_equal(plain[..., i], np.roll(digits[..., 0], -i, axis=0))
        [mixed] = batches(kgl.data.stacked_mnist(batch_size=20, seed=5))
    numbers = np.array(
        [
            [np.flatnonzero((digits[..., 0] == x[..., i]).all((1, 2))) for i in range(3)]
            for x in mixed
        ]
    )[..., 0]
    for i in range(3):  # every digit once in each channel, in another order
        assert sorted(numbers[:, i]) == list(range(20))
        assert list(numbers[:, i]) != list(numbers[:, i - 1])


def test_stacked_mnist_has_a_thousand_modes(real_data):
    """Counted by the classifier: 10,000 images, so that ten of each mode are expected."""
    classifier_file = pathlib.Path(real_data).parent / "eval" / "mnist_cnn.keras"
    if not classifier_file.exists():
        pytest.skip("there is no classifier beside the data")
    classifier = keras.saving.load_model(classifier_file)
    data = kgl.data.stacked_mnist("test", batch_size=1000)
    images = np.concatenate(batches(data))
    logits = [classifier.predict(images[..., i : i + 1], verbose=0)["logits"] for i in range(3)]
    labels = np.stack([part.argmax(-1) for part in logits], axis=1)
    found = kgl.metrics.stacked_mode_coverage(labels)
    # a mode of 10 expected images is missing with probability e^-10
    assert found.modes >= 995
    # uniform samples have 999 / 20,000 = 0.05; MNIST's classes are not quite of one size
    assert 0.04 < found.divergence < 0.08


def test_a_file_that_is_no_image_is_named(tmp_path):
    for name in ("a.png", "c.png"):
        keras.utils.save_img(tmp_path / name, np.zeros((8, 8, 3)), scale=False)
    with pytest.raises(ValueError, match=r"must end with 1 or 3 channels. Received: \(8, 8, 4\)"):
        kgl.data.image_folder(tmp_path, (8, 8, 4), batch_size=2)
    for content in (b"", b"notes"):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"Expected image files in .*Received: .*b\.png"):
            kgl.data.image_folder(tmp_path, (8, 8, 3), batch_size=2)
