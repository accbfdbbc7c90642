"""README and site say what works: the code runs, links lead somewhere, no name is missing."""

import inspect
import os
import pathlib
import re
import shlex
import subprocess
import sys

import click
import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_gradlayer as kgl
from keras_gradlayer import commands

ROOT = pathlib.Path(kgl.__file__).parents[1]
SITE = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "export/README.md", *SITE]
# The same code at sizes for a test.
SMALLER = {
    "LineSearch(scorer)": "LineSearch(scorer, samples=50)",
    "best_insert(generator, critic, scorer)": "best_insert(generator, critic, scorer, 1, 50)",
    "iterations=500": "iterations=2",
    "width=32": "width=2",
    "epochs=100": "epochs=2",
    "count=500": "count=300",
}


def read(page):
    return (ROOT / page).read_text()


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.DOTALL | re.MULTILINE)


def run(page, names):
    """Run a page's Python blocks in one namespace."""
    for code in blocks(page, "python"):
        for given, smaller in SMALLER.items():
            code = code.replace(given, smaller)
        exec(code, names)
    return names


@pytest.fixture(scope="module")
def ran():
    """Where README's recipe ran, and its names, once it has."""
    return {}


@pytest.fixture
def recipe(ran, tmp_path_factory, monkeypatch):
    """The names of README's recipe, in the folder where it ran."""
    if not ran:
        ran["folder"] = tmp_path_factory.mktemp("docs")
    monkeypatch.chdir(ran["folder"])
    with tfds.testing.mock_data(num_examples=130):
        if "names" not in ran:
            kgl.models.dcgan_generator((32, 32, 3), latent_dim=4, width=2).save("generator.keras")
            kgl.models.dcgan_critic((32, 32, 3), width=2).save("critic.keras")
            x = [
                keras.layers.Input((32, 32, 3)),
                keras.layers.Conv2D(4, 5, strides=4),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(3),
            ]
            keras.Sequential(x).save("my_classifier.keras")
            ran["names"] = run("README.md", {})
        yield dict(ran["names"])


def test_the_recipe_runs(recipe):
    assert recipe["images"].shape == (64, 32, 32, 3)
    assert isinstance(recipe["sampler"], kgl.Sampler)  # of untrained models: any depth
    assert pathlib.Path("models/sampler/1/saved_model.pb").exists()


# What a page's code has to have come to.
RESULTS = {
    "how-to/conditional.md": lambda n: n["drawn"].shape == (6, 2),
    "how-to/train_a_gan.md": lambda n: n["layers"].stack.depth == 2 and gan_is_saved(n["gan"]),
    "how-to/serve.md": lambda n: (
        n["samples"].shape == (3, 32, 32, 3)
        and np.ptp(n["scores"]) > 0
        and all(png.startswith(b"\x89PNG") for png in n["pngs"])
    ),
    "how-to/bulk.md": lambda n: np.shape(list(n["many"])) == (300, 32, 32, 3),
    "how-to/other_models.md": lambda n: len(n["model"].trainable_variables) == 2,
    "how-to/score_honestly.md": lambda n: not n["after"].differs_from(n["before"]),
    "how-to/add_a_method.md": lambda n: n["history"].history["penalty"][0] > 0,
    "how-to/several_devices.md": lambda n: n["spread"].stack.depth == 1,
    "explanation/theorem_1.md": lambda n: min(n["logs"]["flow_norm"]) > 0,
    "start/five_minutes.md": lambda n: n["drawn"].stack.depth == 2,
}


def gan_is_saved(gan):
    z = gan.latent.sample(3, seed=0)
    loaded = keras.saving.load_model("gan.keras")
    return np.array_equal(loaded.predict(z, verbose=0), gan.predict(z, verbose=0))


@pytest.mark.parametrize("page", [page for page in SITE if blocks(page, "python")])
def test_python_of_the_site_runs(page, recipe):
    """Each page begins with the names of the recipe."""
    names = run(page, recipe)
    assert RESULTS.get(page.removeprefix("docs/"), bool)(names)


def test_commands_exist():
    makefile, count = read("Makefile"), 0
    for line in "".join(code for page in PAGES for code in blocks(page, "sh")).splitlines():
        if not line.startswith(("make ", "keras-gradlayer ")):
            continue
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile
        elif "…" not in words:
            command = commands.cli.commands[words[1]]
            command.make_parser(click.Context(command)).parse_args(words[2:])
            count += 1
    assert count >= 20
    described = read("docs/reference/command_line.md")
    assert all(f"| `{name}` |" in described for name in commands.cli.commands)


def anchors(page):
    """The anchors of a page's headings, as MkDocs and code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", read(page), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", read(page), flags=re.S)):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            found = (ROOT / page).parent.joinpath(path) if path else ROOT / page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found.resolve().relative_to(ROOT)), target


def test_every_page_is_in_the_navigation():
    for page in SITE:
        assert f" {page.removeprefix('docs/')}\n" in read("mkdocs.yml")


def test_every_public_name_is_in_the_reference():
    documented = re.findall(
        r"^::: (\S+)$", "".join(map(read, SITE)), re.MULTILINE
    )  # mkdocstrings puts the docstring there
    public = []
    for name in kgl.__all__:
        item = getattr(kgl, name)
        if inspect.ismodule(item):
            public += [f"{item.__name__}.{inner}" for inner in item.__all__]
        elif name != "__version__":
            public.append(f"keras_gradlayer.{name}")
    assert sorted(documented) == sorted(public)


def test_troubleshooting_quotes_what_the_package_says():
    sources = "".join(p.read_text() for p in (ROOT / "keras_gradlayer").rglob("*.py"))
    said = re.sub(r'"\s*f?"', "", sources).replace("`", "")  # strings over several lines
    said = re.sub(r"\{[^{}]*\}", "…", said)
    page = read("docs/how-to/troubleshooting.md").partition("## It does not get better")[0]
    quotes = re.findall(r"^\*\*(?:A )?`([^`]+)`", page, re.MULTILINE)
    tensorflow = ("triggered tf.function", "remapper failed")
    ours = [q for q in quotes if not q.startswith(tensorflow)]
    assert len(ours) >= 12
    for quote in ours:
        assert all(part.strip() in said for part in quote.split("…")), quote


def test_the_site_builds_without_a_warning(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="needs the extra 'docs'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    result = subprocess.run(
        build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True
    )
    assert result.returncode == 0, result.stderr.decode()
    assert "WARNING" not in result.stderr.decode()
    layers = (tmp_path / "site" / "reference" / "layers.html").read_text()
    for part in ("Parameters:", "Call arguments", "Raises:", "Examples:", "<strong>Source:"):
        assert part in layers
