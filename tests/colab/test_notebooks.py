"""The notebooks of colab/ run from top to bottom, and come to what they say."""

import ast
import inspect
import os
import pathlib
import re
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

import keras_gradlayer as kgl

FOLDER = pathlib.Path(kgl.__file__).parents[1] / "colab"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

# What is true at the end of each, on a CPU; of the first at the sizes of its test.
HOLDS = {
    "01_five_minutes": """
assert [k for k in coverage] == [0, 5, 10, 20]
assert coverage[20].modes == 8
assert coverage[20].within > 1.5 * coverage[0].within  # 0.30 at depth 0
assert loaded.stack.depth == 20
assert not np.any(loaded.predict(z, verbose=0) != sampler.predict(z, verbose=0))
""",
    "02_your_own_gan": """
assert 1 <= sampler.depth <= 6
fell = scores["after"]["frechet_distance"] / scores["before"]["frechet_distance"]
assert fell < 0.95  # 0.8 here; each layer of the search is worth half a percent
loaded = keras.saving.load_model("sampler.keras")
np.testing.assert_allclose(loaded.predict(z[:50], verbose=0), after[:50], atol=1e-5)
np.testing.assert_allclose(generator.predict(z[:50], verbose=0), before[:50])  # left as it was
""",
    "03_cifar10": """
assert [samplers["as printed"].depth, set(samplers["as printed"].step_sizes)] == [6, {0.5}]
start = scores["the GAN"][0]["frechet_distance"]
assert samplers["line search"].depth
for name in samplers:
    assert scores[name][0] is scores["the GAN"][0]
    assert scores[name][-1]["frechet_distance"] < start
""",
    "04_serve": """
assert difference < 1e-6
np.testing.assert_allclose(by_depth[-1], expected, atol=1e-6)
np.testing.assert_allclose(by_depth[0], gan.generator.predict(latents, verbose=0), atol=1e-6)
grey = np.stack([tf.io.decode_png(png) for png in pngs])
np.testing.assert_allclose(grey, 127.5 * (expected + 1), atol=0.51)  # bytes
assert about["depth"] == 3
""",
    "05_other_models": """
assert as_three["reconstructed"] < 0.2
assert as_three["refined"] > 0.6  # 0.78 here
assert distances["sharpened"] < 0.95 * distances["reconstructed"]  # 3.7 and 4.5
again = keras.saving.load_model("sharpened.keras").predict(test_images, verbose=0)
np.testing.assert_allclose(again.clip(-1, 1), after, atol=1e-5)
assert right_class > 0.95  # 98% to 99.9% over four seeds
""",
    "06_which_method": """
assert list(found)[1:-1] == list(methods)
near = {name: score[0] for name, score in scores.items()}
for name in methods:  # the share of 1,000 samples errs by 1.2 points
    assert near[name] > near["generator"] - 0.025, name
    assert scores[name][1] >= 22, name
assert near["history"] > 2 * near["generator"]  # 83% and 19%
assert near["fixed critic"] > 1.5 * near["generator"]  # 51%
assert scores["history"][2] < scores["generator"][2]
assert scores["the data"][0] > 0.99
""",
}


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def plain(source):
    """A cell's code without the lines that are IPython's."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def test_each_notebook_is_tested():
    assert list(HOLDS) == NOTEBOOKS
    assert [name[:3] for name in NOTEBOOKS] == [f"{i:02}_" for i in range(1, 7)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_clean(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells] == [f"cell-{i}" for i in range(len(notebook.cells))]
    assert notebook.cells[0].source.startswith("# ")
    for cell in code_of(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert ast.parse(plain(cell.source)).body


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_leaves_the_runtime_as_it_is(name):
    """It installs this package alone, where it is missing; its ranges allow what Colab has."""
    cells = code_of(read(name))
    lines = [line for cell in cells for line in re.findall(r"^\s*[%!].*$", cell.source, re.M)]
    (line,) = lines
    found = re.fullmatch(r' +%pip install -q "keras-gradlayer\[\w+\] @ \{SOURCE\}"', line)
    assert found, line
    first = code_of(read(NOTEBOOKS[0]))[0].source
    assert re.sub(r"\[\w+\]", "", cells[0].source) == re.sub(r"\[\w+\]", "", first)
    devices = [cell.source.count('list_physical_devices("GPU")') for cell in cells]
    assert sum(devices) == devices[1] == 1  # the sizes, in one place


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_uses_public_names(name):
    tree = ast.parse("\n".join(plain(cell.source) for cell in code_of(read(name))))
    used = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr[0] == "_"]
    imported = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not [n for n in imported if n.module.startswith("keras_gradlayer")]
    ours = [n.split(".")[1:] for n in used if re.fullmatch(r"kgl(\.\w+)+", n)]
    assert ours
    for first, *rest in ours:
        assert first in kgl.__all__
        space = getattr(kgl, first)
        if rest and inspect.ismodule(space):
            assert rest[0] in space.__all__, f"kgl.{first}.{rest[0]}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_of_a_notebook(name):
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!http)([^)#\s]+)", cell.source):
                assert (FOLDER / target).exists(), target


def execute(notebook, folder):
    """Run it there, and count the pictures that it shows."""
    NotebookClient(notebook, timeout=1500, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output.get("data", {}) for cell in code_of(notebook) for output in cell.outputs]
    return sum("image/png" in data or "image/gif" in data for data in shown)


def checked(name):
    """A notebook whose last cell asks for what holds."""
    notebook = read(name)
    notebook.cells.append(nbformat.v4.new_code_cell(HOLDS[name]))
    return notebook


def test_five_minutes(tmp_path):
    """With a fifth of the layers, of twice the step."""
    notebook = checked("01_five_minutes")
    for given, smaller in (("else 100", "else 20"), ("step_size=0.1", "step_size=0.2")):
        (cell,) = [cell for cell in code_of(notebook) if given in cell.source]
        cell.source = cell.source.replace(given, smaller)
    assert execute(notebook, tmp_path) == 3
    assert (tmp_path / "flow.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS[1:])
def test_a_notebook_runs(name, tmp_path, real_data):
    assert execute(checked(name), tmp_path) >= 1


@pytest.mark.slow
def test_cifar10_with_models_of_ones_own(tmp_path, real_data, monkeypatch):
    """Those that lie beside the data, where they do."""
    shared = pathlib.Path(real_data).parent
    files = {
        "generator": shared / "gan" / "cifar10_generator.keras",
        "critic": shared / "gan" / "cifar10_critic.keras",
        "classifier": shared / "eval" / "cifar10_resnet56.keras",
    }
    if not all(path.exists() for path in files.values()):
        pytest.skip("no models of CIFAR-10 beside the data sets")
    for name, path in files.items():
        shutil.copy(path, tmp_path / f"{name}.keras")
    monkeypatch.setenv("CIFAR10_MODELS", os.fspath(tmp_path))
    assert execute(checked("03_cifar10"), tmp_path) == 2
