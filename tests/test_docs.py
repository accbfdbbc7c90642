"""The README and the other pages say what works."""

import pathlib
import re
import shlex

import click
import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_gradlayer as kgl
from keras_gradlayer import commands
from tests import oracles

ROOT = pathlib.Path(kgl.__file__).parents[1]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_readme_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kgl.models.dcgan_generator((32, 32, 3), latent_dim=4, width=2).save("generator.keras")
    kgl.models.dcgan_critic((32, 32, 3), width=2).save("critic.keras")
    x = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 5, strides=4)(x))
    judge = keras.Model(x, {"features": features, "logits": keras.layers.Dense(3)(features)})
    judge.save("classifier.keras")
    names = {}
    with tfds.testing.mock_data(num_examples=130):
        for code in blocks("README.md", "python"):
            exec(code, names)
            if 'gan.save("gan.keras")' in code:
                z = names["gan"].latent.sample(3, seed=0)
                saved = names["gan"].predict(z, verbose=0)
    assert names["images"].shape == (64, 32, 32, 3)
    assert isinstance(names["sampler"], kgl.Sampler)  # of untrained models: any depth
    assert names["drawn"].shape == (6, 2)
    assert names["tuner"].stack.depth == 2
    assert names["samples"].shape == (3, 32, 32, 3)
    assert np.ptp(names["scores"]) > 0
    assert all(png.startswith(b"\x89PNG") for png in names["pngs"])
    assert np.shape(list(names["many"])) == (500, 32, 32, 3)
    loaded = keras.saving.load_model("gan.keras")
    np.testing.assert_array_equal(loaded.predict(z, verbose=0), saved)
    assert len(names["model"].trainable_variables) == 2


def test_readme_commands_exist():
    lines = "".join(blocks("README.md", "sh")).splitlines()
    makefile = (ROOT / "Makefile").read_text()
    count = 0
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert f"\n{words[1]}:" in makefile
        elif words[:1] == ["keras-gradlayer"]:
            command = commands.cli.commands[words[1]]
            command.make_parser(click.Context(command)).parse_args(words[2:])
            count += 1
    assert count >= 4


def test_contributing_example_runs():
    names = {}
    [code] = blocks("CONTRIBUTING.md", "python")
    exec(code, names)
    gan = kgl.GAN(oracles.point_generator(), oracles.smooth_critic((2,)))
    gan.compile()
    history = gan.fit(
        oracles.points(), callbacks=[names["DriftPenalty"](weight=1e3)], verbose=0
    ).history
    assert history["penalty"][0] > 0


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "export/README.md",
        "docs/RESULTS.md",
        "docs/ANY_GAN.md",
        "docs/RIVALS.md",
    ],
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target
