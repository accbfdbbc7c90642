import pathlib

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import keras_gradlayer as kgl

PATH = pathlib.Path(kgl.__file__).parents[1] / "colab" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_outputs_are_cleared(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_it_runs(notebook, tmp_path):
    sizes = code_cells(notebook)[0]
    assert "LAYERS = 100" in sizes.source
    sizes.source = sizes.source.replace("LAYERS = 100", "LAYERS = 4")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [o for cell in code_cells(notebook) for o in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in shown) >= 2
    import keras

    sampler = keras.saving.load_model(tmp_path / "sampler.keras")
    assert sampler.stack.depth == 4
    assert np.isfinite(sampler.predict(sampler.latent.sample(5, seed=0), verbose=0)).all()
    assert kgl.serving.read_metadata(tmp_path / "models" / "sampler")["depth"] == 4
