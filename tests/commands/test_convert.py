import shutil

import keras
import numpy as np

import keras_gradlayer as kgl
from tests.commands.commandline import fails, run
from tests.models.test_converting import FILES, RESULTS, inputs


def test_convert(capsys, tmp_path):
    new = tmp_path / "new.keras"
    for name in ("dcgan_generator.h5", "dcgan_discriminator_folder"):
        status, printed, _ = run(capsys, "convert", FILES / name, "--out", new)
        assert status == 0
        assert f"weights: {new}" in printed
        y = keras.saving.load_model(new)(inputs(name), training=False)
        np.testing.assert_allclose(y, RESULTS[f"{name}/y"], rtol=1e-5, atol=1e-6)
        assert [p.name for p in tmp_path.iterdir()] == ["new.keras"]
        assert "exists; nothing was written" in fails(capsys, "convert", FILES / name, "--out", new)
        new.unlink()


def test_bad_input(capsys, tmp_path):
    out = ["--out", tmp_path / "new.keras"]
    for arguments, message in (
        ([FILES / "lambda.h5", *out], "'double' is a Lambda"),
        ([FILES / "weights_only.h5", *out], "holds weights alone"),
        ([tmp_path / "none.h5", *out], "does not exist"),
        ([FILES / "mlp.h5", "--out", tmp_path / "new.h5"], "--out must be a .keras file"),
        ([FILES / "mlp.h5", "--out", tmp_path / "a" / "new.keras"], "There is no folder"),
        ([FILES / "mlp.h5"], "Missing option '--out'"),
    ):
        assert message in fails(capsys, "convert", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_old_files_where_models_are_loaded(capsys, tmp_path):
    """They are converted in memory, and a line says so."""
    for name in ("mlp.h5", "mlp.keras"):
        shutil.copy(FILES / name, tmp_path)
        sample = ["sample", "--model", tmp_path / name, "--count", 3, "--out", tmp_path / name[4:]]
        status, printed, _ = run(capsys, *sample)
        assert status == 0
        assert "is of Keras 2: 'mlp' was converted." in printed
        z = kgl.latents.Gaussian((3,)).sample_rows([0, 1, 2])
        expected = kgl.models.convert(FILES / name)(z)
        np.testing.assert_allclose(
            np.load(tmp_path / name[4:] / "samples.npy"), expected, atol=1e-6
        )
    assert "holds weights alone" in fails(
        capsys, "sample", "--model", FILES / "weights_only.h5", "--out", tmp_path / "out"
    )
