"""What holds for the whole package: its shape, its names, its documentation."""

import ast
import configparser
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import yaml

import keras_gradlayer as kgl
from tests.mutants import MUTANTS

ROOT = pathlib.Path(kgl.__file__).parents[1]
PACKAGE = ROOT / "keras_gradlayer"
# Imports run one way: a name may import from those before it, and from its own folder.
ORDER = [
    {"layers", "latents", "objectives", "models", "data", "metrics", "pictures"},
    {"step_rules"},
    {"trainers"},
    {"callbacks", "rivals"},
    {"serving"},
    {"presets"},
    {"experiments"},
    {"commands"},
]
MODULES = [
    importlib.import_module(m.name)
    for m in pkgutil.walk_packages([str(PACKAGE)], "keras_gradlayer.")
    if not m.name.endswith("__main__")  # which runs when imported
]
PUBLIC = [
    getattr(space, name)
    for space in (kgl, *(getattr(kgl, n) for n in kgl.__all__ if inspect.ismodule(getattr(kgl, n))))
    for name in space.__all__
    if callable(getattr(space, name))
]


def imported(path):
    """Places within the package that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "keras_gradlayer":
                yield from (alias.name for alias in node.names)
            elif node.module.startswith("keras_gradlayer."):
                yield node.module.split(".")[1]


def test_serving_needs_no_trainer():
    for path in (PACKAGE / "serving").glob("*.py"):
        assert not {"trainers", "callbacks"} & set(imported(path)), path


def test_imports_run_one_way():
    level = {name: i for i, names in enumerate(ORDER) for name in names}
    # the parts of the first level that others of that level may use
    shared = {("models", "layers"), ("models", "latents"), ("metrics", "latents")}
    shared |= {("layers", "objectives"), ("models", "objectives")}
    files = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" or p.parent != PACKAGE]
    assert len(files) > 30
    for path in files:
        place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if place.startswith("_"):
            continue
        for target in imported(path):
            if target.startswith("_") or target == place:
                continue
            lower = level[target] < level[place]
            assert lower or (place, target) in shared, f"{path}: {target}"


def test_no_private_names_of_other_libraries():
    """Each private attribute that is read or set is one that this package defines."""
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    own = {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    own |= {n.id for n in nodes if isinstance(n, ast.Name)}
    own |= {
        n.attr
        for n in nodes
        if isinstance(n, ast.Attribute)
        and isinstance(n.ctx, ast.Store)
        and ast.unparse(n.value) == "self"
    }
    own |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    own |= {path.stem for path in trees}
    own |= {"_asdict", "_fields", "_getframe"}  # documented by Python
    for path, tree in trees.items():
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        foreign = {n for n in used if n.startswith("_") and not n.startswith("__")} - own
        assert not foreign, f"{path.relative_to(PACKAGE)}: {foreign}"


def test_private_modules_import_no_public_ones():
    for path in PACKAGE.glob("_[a-z]*.py"):
        assert all(target.startswith("_") for target in imported(path)), path


@pytest.mark.parametrize("item", PUBLIC, ids=lambda item: item.__qualname__)
def test_documentation(item):
    """Every public name says what it takes, gives and raises, with an example that runs."""
    doc = inspect.getdoc(item)
    assert doc, item
    parameters = [p for p in inspect.signature(item).parameters if p not in ("kwargs", "args")]
    if "as for `" not in doc and "Otherwise as `" not in doc:
        for name in parameters:
            assert f"\n    {name}: " in doc, f"{item.__qualname__} does not document {name}"
    assert ">>> " in doc, f"{item.__qualname__} has no example that runs"
    for name, method in inspect.getmembers(item, inspect.isfunction):
        if not name.startswith("_") and method.__module__.startswith("keras_gradlayer"):
            assert inspect.getdoc(method), f"{item.__qualname__}.{name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_examples_run(module, tmp_path):
    assert module.__doc__
    names = {**vars(module), "keras": keras, "tf": tf, "np": np, "kgl": kgl, "tmp_path": tmp_path}
    if ".serving" in module.__name__:
        generator = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "tanh")])
        names["folder"] = kgl.serving.export_sampler(generator, tmp_path / "model")
        names["connect"] = kgl.serving.connect
    names |= {n: getattr(kgl.models, n) for n in kgl.models.__all__}
    with tfds.testing.mock_data(num_examples=130):
        results = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_one_public_class_a_file():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        classes = [n.name for n in tree.body if isinstance(n, ast.ClassDef)]
        layers = [n for n in classes if not n.startswith("_")]
        named = [n for n in layers if n.lower() == path.stem.replace("_", "")]
        if path.parent.name in ("layers", "trainers", "callbacks", "latents", "objectives"):
            assert layers == named, path


def test_metadata():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["license_expression"] == "Apache-2.0"
    assert (PACKAGE / "py.typed").exists()
    assert "py.typed" in config["options.package_data"]["*"]
    extras = config["options.extras_require"]
    for lines in (config["options"]["install_requires"], extras["all"], extras["serving"]):
        for line in lines.strip().splitlines():
            ours = line.startswith(("#", "keras-gradlayer["))
            assert ours or ("<" in line and ">" in line), line


def test_the_version_is_the_same_everywhere():
    """The command's is in tests/commands/test_console.py; `make release` shows the wheel's."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: keras_gradlayer._version.__version__"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    headings = re.findall(
        r"^## \[(.+)\](?: - (.+))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    released = kgl.__version__, citation["date-released"].isoformat()
    assert headings[:2] == [("Unreleased", ""), released]
    assert citation["version"] == kgl.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what its schema asks


def test_every_dependency_is_in_the_table_of_extras():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    page = (ROOT / "docs" / "start" / "install.md").read_text()
    extras = config["options.extras_require"]
    for name in extras:
        assert f"| `{name}` |" in page, name
    for line in "\n".join([config["options"]["install_requires"], *extras.values()]).splitlines():
        if line and not line.startswith(("#", "keras-gradlayer[")):
            package = re.match(r"[\w-]+", line)[0]
            assert f"`{package}`" in page, package


# What the extras bring, but for requests, which TensorFlow itself imports.
EXTRAS = {
    "plots": ["matplotlib", "jinja2"],
    "data": ["tensorflow_datasets", "importlib_resources"],
    "metrics": ["tensorflow_gan", "tensorflow_hub", "tensorflow_probability", "pkg_resources"],
    "serving": ["tensorflow_serving", "grpc"],
}
BASE_INSTALL = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # as if it were not installed

import pathlib, tempfile
import numpy as np
import keras_gradlayer as kgl

tuner = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=4), 0.1, max_layers=1)
tuner.compile()
tuner.fit(kgl.data.eight_gaussians(n=100), verbose=0)
with tempfile.TemporaryDirectory() as folder:
    tuner.sampler().save(folder + "/sampler.keras")
    kgl.serving.export_sampler(tuner, folder + "/model")
    with kgl.serving.connect(folder + "/model") as client:
        print(np.shape(client.sample(range(5))))
    for call in (
        lambda: kgl.data.cifar10(),
        lambda: kgl.metrics.kernel_distance(np.eye(3), np.eye(3)),
        lambda: kgl.serving.connect("grpc://localhost:1"),
    ):
        try:
            call()
        except ImportError as e:
            print(e)
"""


def test_a_base_install_fine_tunes_and_exports_and_names_the_extra_that_is_missing():
    missing = ",".join(name for names in EXTRAS.values() for name in names)
    result = subprocess.run(
        [sys.executable, "-c", BASE_INSTALL, missing], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    shape, *said = result.stdout.splitlines()
    assert shape == "(5, 2)"
    named = [line.split("pip install ")[1].rstrip(".") for line in said]
    expected = ["data", "metrics", "serving"]
    assert named == [f"'keras-gradlayer[{extra}]'" for extra in expected]


def test_planted_faults_have_a_place():
    """The table of `make mutants` names lines that are there."""
    for mutant in MUTANTS:
        assert (PACKAGE / mutant.file).read_text().count(mutant.old) == 1, mutant
