"""Files that tf_keras wrote (old_files/make.py), with what it gave for some inputs."""

import logging
import pathlib
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from keras_gradlayer.models import converting

FILES = pathlib.Path(__file__).parent / "old_files"
REFUSED = {
    "custom.h5": "'custom' is of the class Custom, which is neither Keras' nor registered",
    "hard_sigmoid.h5": "'dense' has the activation hard_sigmoid, which is another one in Keras 3",
    "lambda.h5": "'double' is a Lambda, a function that is not a layer of Keras",
    "operations.h5": r"a TFOpLambda \(math.multiply\), a function that is not a layer of Keras",
}
with np.load(FILES / "results.npz") as results:
    RESULTS = dict(results)
CONVERTED = sorted({key.split("/")[0] for key in RESULTS} - REFUSED.keys())


def inputs(name):
    x = [RESULTS[key] for key in sorted(RESULTS) if key.startswith(f"{name}/x")]
    return x if len(x) > 1 else x[0]


@pytest.mark.parametrize("name", CONVERTED)
def test_outputs_are_those_of_tf_keras(name, tmp_path):
    """In memory, and from the file of Keras 3 that it is saved to."""
    model = kgl.models.convert(FILES / name)
    model.save(tmp_path / "new.keras")
    for found in (model, keras.saving.load_model(tmp_path / "new.keras")):
        y = found(inputs(name), training=False)
        np.testing.assert_allclose(y, RESULTS[f"{name}/y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_refused(name):
    with pytest.raises(ValueError, match=REFUSED[name]):
        kgl.models.convert(FILES / name)


def test_keras_is_not_asked_for_what_it_would_look_for_without_end(monkeypatch):
    """A Sequential within a Functional model, which Keras 3.13 never ends to load."""

    def load(path, **kwargs):
        asked.append(path)
        raise ValueError

    asked = []
    monkeypatch.setattr(keras.saving, "load_model", load)
    kgl.models.convert(FILES / "combined.h5")
    assert not asked
    kgl.models.convert(FILES / "mlp.h5")
    assert asked == [FILES / "mlp.h5"]


def test_what_a_gan_trains_on_with_is_kept():
    """Frozen layers, regularizers, constraints, dropout, and the momentum of statistics."""
    model = kgl.models.convert(FILES / "combined.h5")
    frozen = model.get_layer("d")
    assert frozen.trainable_weights == []
    assert len(frozen.weights) == 6
    assert len(model.get_layer("g").trainable_weights) == 4
    assert model.count_params() == 12 + 4 + 16 + 20 + 16 + 5  # the layer called twice is one
    regularized = kgl.models.convert(FILES / "mlp.h5").layers[3]
    np.testing.assert_allclose(regularized.kernel_regularizer.l2, 0.01)
    critic = kgl.models.convert(FILES / "dcgan_discriminator.h5")
    assert critic.layers[2].rate == 0.3
    assert critic.layers[4].momentum == 0.8
    held = kgl.models.convert(FILES / "conditional_critic.h5")
    conv = next(x for x in held.layers if isinstance(x, keras.layers.Conv2D))
    assert conv.kernel_constraint.max_value == 2.0


def test_a_constraint_of_another_class_is_left_behind(caplog):
    with caplog.at_level(logging.WARNING):
        model = kgl.models.convert(FILES / "clipped.h5")
    assert "'conv2d' loses its constraint ClipConstraint." in caplog.text
    assert model.layers[0].kernel_constraint is None


@keras.saving.register_keras_serializable(package="", name="Custom")
class Custom(keras.layers.Layer):
    def call(self, x):
        return x


def test_a_registered_class(monkeypatch):
    monkeypatch.setitem(keras.saving.get_custom_objects(), "Custom", Custom)
    model = kgl.models.convert(FILES / "custom.h5")
    y = model(inputs("custom.h5"), training=False)
    np.testing.assert_allclose(y, RESULTS["custom.h5/y"], rtol=1e-5)


def test_files_without_a_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("notes.txt", "hello")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "3.keras")
    for path, said in (
        (
            FILES / "weights_only.h5",
            r"holds weights alone.*`model.load_weights\('weights_only.h5'\)",
        ),
        (tmp_path / "none.h5", "does not exist"),
        (tmp_path / "empty", "has no keras_metadata.pb"),
        (tmp_path / "other.keras", "is not a model's"),
        (pathlib.Path(__file__), "is not a model's"),
        (tmp_path / "3.keras", "is a model of Keras 3.* already"),
    ):
        with pytest.raises(ValueError, match=said):
            kgl.models.convert(path)


def test_outputs_are_compared(monkeypatch):
    """With the SavedModel itself: a weight out of its place is found."""
    place = converting._old_weights._Folder.place

    def wrong(self, root):
        place(self, root)
        root.layer.weights[0].assign(root.layer.weights[0] + 0.1)

    monkeypatch.setattr(converting._old_weights._Folder, "place", wrong)
    with pytest.raises(ValueError, match="the result differs from the original by"):
        kgl.models.convert(FILES / "dcgan_discriminator_folder")


def test_weights_that_do_not_fit(tmp_path):
    """Each weight has its place, by shape and by name."""
    shutil.copy(FILES / "dcgan_generator.h5", tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        group = file["model_weights/batch_normalization"]
        names = group.attrs["weight_names"]
        group.attrs["weight_names"] = names[[1, 0, 2, 3]]
    with pytest.raises(ValueError, match="the weight gamma of shape .* the file has beta"):
        kgl.models.convert(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        file["model_weights/batch_normalization"].attrs["weight_names"] = names[:3]
    with pytest.raises(ValueError, match="'batch_normalization' has 4 weights, and the file 3"):
        kgl.models.convert(tmp_path / "old.h5")


def test_live_models_of_tf_keras():
    """They are told by where their class comes from; tf_keras itself is not needed."""
    live = type("Functional", (), {"__module__": "tf_keras.src.engine.functional"})()
    critic = kgl.models.mlp_critic((2,), units=4)
    said = "of Keras 2 .tf_keras.* keras-gradlayer convert old.h5 --out new.keras"
    for make in (
        lambda: kgl.FineTuner(live, critic, 0.1),
        lambda: kgl.FineTuner(None, live, 0.1),
        lambda: kgl.GAN(live, critic),
        lambda: kgl.GAN(critic, live),
        lambda: kgl.serving.export_sampler(live, "nowhere"),
    ):
        with pytest.raises(TypeError, match=said):
            make()
