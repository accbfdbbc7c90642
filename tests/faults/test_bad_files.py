"""Files and folders that are damaged, foreign or hostile end in one line, and stay as they are."""

import json
import os
import re
import shutil

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests.commands.commandline import run
from tests.faults import bad_input as bad
from tests.faults.bad_input import critic, generator, refused, sampler, tuner

nan = np.nan


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sampler's .keras file, a tuner's, a generator's, and an exported folder."""
    folder = tmp_path_factory.mktemp("files")
    sampler().save(folder / "sampler.keras")
    tuner().save(folder / "tuner.keras")
    generator().save(folder / "generator.keras")
    critic().save(folder / "critic.keras")
    kgl.serving.export_sampler(sampler(), folder / "export")
    return folder


def settings(name, value):
    """Change a setting of the stack in a config."""

    def change(config):
        stack = config["config"]["stack"]["config"]
        assert name in stack
        stack[name] = value

    return {"config": change}


def drop(*path):
    def change(config):
        for name in path[:-1]:
            config = config[name]
        del config[path[-1]]

    return {"config": change}


def put(value, *path):
    def change(config):
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return {"config": change}


def in_stack(change):
    """Change what the stack has stored: a group of the file's weights."""

    def weights(store):
        found = []
        store.visit(lambda name: found.append(name) if name.endswith("step_sizes") else None)
        for name in found:
            change(store[name].parent)

    return {"weights": weights}


def spoil(store):
    store["history_0"][1] = nan


def spoil_all(store):
    def visit(name, item):
        if hasattr(item, "shape") and item.dtype.kind == "f" and "history" not in name:
            item[...] = nan

    store.visititems(visit)


def dense():
    return keras.saving.serialize_keras_object(keras.layers.Dense(3))


def shorten(store):
    rows = store["history_0"][:2]
    del store["history_0"]
    store["history_0"] = rows


FOREIGN = {
    "module": "os",
    "class_name": "system",
    "config": {"command": "true"},
    "registered_name": None,
}
KERAS = {
    "max_layers too small": (settings("max_layers", 2), "at most 2 layers"),
    "max_layers 10**12": (settings("max_layers", 10**12), "`max_layers`.*memory"),
    "max_layers -1": (settings("max_layers", -1), "`max_layers` must be"),
    "max_layers text": (settings("max_layers", "a"), "`max_layers` must be"),
    "steps_per_layer 10**6": (settings("steps_per_layer", 10**6), "from 1 to 10000"),
    "step_size 1e300": (settings("step_size", 1e300), "`step_size` must be"),
    "objective unknown": (settings("objective", "x"), "objective"),
    "latent of Dense": (put(dense(), "config", "latent"), "`latent` must be"),
    "base of Gaussian": (
        put(keras.saving.serialize_keras_object(kgl.latents.Gaussian(3)), "config", "base"),
        "`base` must be",
    ),
    "stack of Dense": (put(dense(), "config", "stack"), "`stack` must be"),
    "no stack": (drop("config", "stack"), "stack"),
    "no latent": (drop("config", "latent"), "latent"),
    "no class": (drop("class_name"), "class_name|cannot be loaded"),
    "a foreign class": (put(FOREIGN, "config", "latent"), "system|cannot be loaded"),
    "a foreign class alone": (
        {"config": lambda c: (c.clear(), c.update(FOREIGN))},
        "system|cannot be loaded",
    ),
    "no depth": (in_stack(lambda s: s.__delitem__("depth")), "the stack's depth"),
    "no history": (in_stack(lambda s: s.__delitem__("history_0")), "history_0"),
    "a history too short": (in_stack(shorten), "of shapes"),
    "NaN in a layer": (in_stack(spoil), "finite weights.*layer 1"),
    "NaN in all weights": ({"weights": spoil_all}, "finite"),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_files(name, files, tmp_path, capsys):
    """The library says it in one error, `sample` and `export` in one line, with nothing written."""
    changes, match = KERAS[name]
    path = bad.edited(files / "sampler.keras", tmp_path / "bad.keras", **changes)
    refused(lambda: kgl.serving.SeededSampler(path), match)
    if name not in ("max_layers too small", "a foreign class", "no depth", "NaN in all weights"):
        return  # the command gives out the same
    status, out, err = run(capsys, "sample", "--model", path, "--out", tmp_path / "out")
    assert status == 2
    assert not (tmp_path / "out").exists()
    [line] = [x for x in err.splitlines() if x.startswith("keras-gradlayer:")]
    assert re.search(match, line)
    assert len(line) < 700, line


GARBAGE = {
    "empty": b"",
    "text": b"not a model",
    "half": lambda content: content[: len(content) // 2],
    "zip of nothing": b"PK\x05\x06" + 18 * b"\0",
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize(
    "command", ["sample --model", "export --model", "convert", "finetune --critic"]
)
def test_garbage(name, command, files, tmp_path, capsys):
    content = GARBAGE[name]
    if callable(content):
        content = content((files / "sampler.keras").read_bytes())
    path = tmp_path / "bad.keras"
    path.write_bytes(content)
    out = ["--out", tmp_path / ("new.keras" if command == "convert" else "out")]
    more = ["--data", "eight_gaussians"] if command.startswith("finetune") else []
    status, _, err = run(capsys, *command.split(), path, *out, *more)
    assert status == 2, err
    [line] = [x for x in err.splitlines() if x.startswith("keras-gradlayer:")]
    assert "bad.keras" in line
    assert path.read_bytes() == content
    assert not out[1].exists()


FACTS = {
    "another stddev": (lambda f: f["latent"]["config"].update(stddev=2.0), "`latent`"),
    "another latent": (lambda f: f["latent"]["config"].update(shape=[5]), "`latent`"),
    "a latent of Dense": (lambda f: f.update(latent=dense()), "`latent` must be"),
    "a foreign latent": (lambda f: f.update(latent=FOREIGN), "`latent`"),
    "no latent": (lambda f: f.pop("latent"), "latent"),
    "depth 99": (lambda f: f.update(depth=99), "depth=99"),
    "depth 2": (lambda f: f.update(depth=2, step_sizes=[0.1, 0.1]), "`depth`"),
    "depth -1": (lambda f: f.update(depth=-1), "`depth` must be"),
    "depth text": (lambda f: f.update(depth="3"), "`depth` must be"),
    "no depth": (lambda f: f.pop("depth"), "depth"),
    "steps_per_layer 10**6": (
        lambda f: f.update(steps_per_layer=10**6),
        "`steps_per_layer` must be",
    ),
    "range [1, -1]": (lambda f: f.update(data_range=[1, -1]), "`data_range` must be"),
    "range text": (lambda f: f.update(data_range="ab"), "`data_range` must be"),
    "no range": (lambda f: f.pop("data_range"), "data_range"),
    "another shape": (lambda f: f.update(sample_shape=[8, 8, 3]), "`sample_shape`"),
    "shape text": (lambda f: f.update(sample_shape="a"), "`sample_shape`"),
    "step_sizes": (lambda f: f.update(step_sizes=[0.1, 0.1, nan]), "`step_sizes`"),
}


@pytest.mark.parametrize("name", FACTS)
def test_sampler_json(name, files, tmp_path, capsys):
    """What it says is compared with what the SavedModel does."""
    change, match = FACTS[name]
    folder = tmp_path / "export"
    shutil.copytree(files / "export", folder)
    file = folder / "1" / "assets.extra" / "sampler.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))
    refused(lambda: kgl.serving.SeededSampler(folder), match)
    if name not in ("another stddev", "depth 99", "no latent"):
        return
    status, _, err = run(capsys, "sample", "--saved-model", folder, "--out", tmp_path / "out")
    assert status == 2
    assert not (tmp_path / "out").exists()
    assert len([x for x in err.splitlines() if x.startswith("keras-gradlayer:")]) == 1


@pytest.mark.parametrize("content", ["", "[]", "5", "{}", "null", "{", "\xff"])
def test_sampler_json_of_something_else(content, files, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(files / "export", folder)
    file = folder / "1" / "assets.extra" / "sampler.json"
    file.write_bytes(content.encode("latin-1"))
    refused(lambda: kgl.serving.SeededSampler(folder), "sampler.json")


def test_a_good_file_and_folder_stay_good(files):
    by_file, by_folder = (
        next(kgl.serving.SeededSampler(files / name).blocks(0, 4))[1]
        for name in ("sampler.keras", "export")
    )
    np.testing.assert_allclose(by_file, by_folder, atol=1e-6)


def picture(path):
    keras.utils.save_img(path, bad.images(1)[0])


FOLDERS = {
    "no image": (lambda folder: (folder / "a.txt").write_text("x"), "images"),
    "a dangling link": (lambda folder: (folder / "b.png").symlink_to("nowhere"), "b.png"),
    "a link to itself": (lambda folder: (folder / "b.png").symlink_to("b.png"), "b.png"),
    "text for an image": (lambda folder: (folder / "b.png").write_text("x"), "b.png"),
    "an empty image": (lambda folder: (folder / "b.png").write_bytes(b""), "b.png"),
    "a name that is no text": (
        lambda folder: shutil.copy(folder / "a.png", os.fsencode(folder) + b"/b\xff.png"),
        "UTF-8",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name, tmp_path, capsys):
    make, match = FOLDERS[name]
    folder = tmp_path / "images"
    folder.mkdir()
    if name != "no image":
        picture(folder / "a.png")
    make(folder)
    refused(lambda: kgl.data.image_folder(folder, (8, 8, 3), batch_size=1), match)


def layer_of_nan():
    """What an older version could have stacked."""
    made = kgl.FineTuner(generator(), critic(), 0.1, max_layers=3)
    for _ in range(2):
        made.stack.append()
    [history, *_] = [v for v in made.stack.variables if v.name == "history_0"]
    values = history.numpy()
    values[1] = nan
    history.assign(values)
    return made


def test_nan_enters_no_history():
    """Not by append, copy or load; the good layers stay, and can be exported."""
    broken = layer_of_nan()
    broken.rollback(1)
    assert broken.sampler().depth == 1
    assert np.isfinite(broken.sampler()(np.zeros((2, 3), "float32"))).all()


def test_the_good_layers_are_left(tmp_path):
    """A critic with a NaN bias has a finite gradient, and is not stacked all the same."""
    made = kgl.FineTuner(generator(), critic(), 0.1, max_layers=3, particles=8)
    made.compile(critic_optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 2)).astype("float32")
    made.fit(x, batch_size=8, verbose=0, callbacks=[kgl.callbacks.GradientPenalty()])
    before = made.sampler().predict(np.ones((2, 3), "float32"), verbose=0)
    made.critic.variables[-1].assign([nan])
    with pytest.raises(
        FloatingPointError, match="critic's weights.*NaN.*1 layers remain.*critic diverged"
    ):
        made.fit(x, batch_size=8, verbose=0, callbacks=[kgl.callbacks.GradientPenalty()])
    after = made.sampler().predict(np.ones((2, 3), "float32"), verbose=0)
    np.testing.assert_array_equal(after, before)
    kgl.serving.export_sampler(made, tmp_path / "sampler")
    made.save(tmp_path / "tuner.keras")
    loaded = keras.saving.load_model(tmp_path / "tuner.keras", compile=False)
    again = loaded.sampler().predict(np.ones((2, 3), "float32"), verbose=0)
    np.testing.assert_allclose(again, before, atol=1e-6)
