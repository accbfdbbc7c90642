"""Runs to be killed, and what they end as when nobody does."""

import os
import time

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests.faults.process import Command


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A critic of points, a table with a GAN of it, and a folder of images with a GAN of them."""
    folder = tmp_path_factory.mktemp("inputs")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    kgl.models.mlp_critic((2,), units=8).save(folder / "points.keras")
    np.save(folder / "table.npy", rng.normal(0.2, 0.1, (200, 3)).astype("float32"))
    kgl.models.mlp_critic((3,), units=8).save(folder / "table.keras")
    for size, channels in ((8, 3), (28, 1)):
        shape = (size, size, channels)
        kgl.models.dcgan_generator(shape, latent_dim=4, width=2).save(folder / f"g{size}.keras")
        kgl.models.dcgan_critic(shape, width=2).save(folder / f"c{size}.keras")
    (folder / "images").mkdir()
    for i, image in enumerate(rng.integers(0, 256, (20, 8, 8, 3))):
        keras.utils.save_img(folder / "images" / f"{i}.png", image, scale=False)
    return folder


@pytest.fixture(scope="session")
def commands(inputs):
    """The runs, by name."""
    tune, gan = ["finetune", "--layers", 4], ["--generator", inputs / "g8.keras"]
    gan += ["--critic", inputs / "c8.keras", "--data", inputs / "images", "--batch-size", 4]
    points = [*tune, "--data", "eight_gaussians", "--critic", inputs / "points.keras"]
    table = [*tune, "--data", inputs / "table.npy", "--critic", inputs / "table.keras"]
    mnist = ["--generator", inputs / "g28.keras", "--critic", inputs / "c28.keras"]
    train = ["train", "--data", inputs / "images", "--image-size", 8, "--width", 2]
    return {
        "points": [*points, "--critic-steps", 7],  # seven of ten batches an epoch
        "folder": [*tune, *gan, "--step-size", 0.1],
        "table": [*table, "--batch-size", 20],  # scored, and the best depth kept
        "train": [*train, "--batch-size", 4, "--critic-steps", 2, "--iterations", 400],
        "mnist": [*tune, "--data", "mnist", *mnist, "--critic-steps", 20, "--step-size", 0.1],
    }


@pytest.fixture(scope="session")
def sampler(inputs):
    """The file of a sampler of images."""
    generator, critic = (keras.saving.load_model(inputs / f"{n}8.keras") for n in "gc")
    kgl.refine(generator, critic, step_size=0.1, steps=3).save(inputs / "sampler.keras")
    return inputs / "sampler.keras"


@pytest.fixture(scope="session")
def straight(commands, tmp_path_factory):
    """What a run ends as when nobody kills it, and how long that takes."""
    known = {}

    def end(name):
        if name not in known:
            out, start = tmp_path_factory.mktemp("straight") / "out", time.monotonic()
            command = Command([*commands[name], "--out", out], out.parent / "output")
            assert command.wait() == 0, command.output.read_text()
            known[name] = ending(out), time.monotonic() - start
        return known[name]

    return end


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """As the tests have it; the processes inherit it."""
    assert os.environ["TF_NUM_INTEROP_THREADS"] == "1"


def ending(out):
    """All weights of a finished run, its log and its scores."""
    [model] = [out / n for n in ("tuner.keras", "gan.keras") if (out / n).exists()]
    texts = [out / n for n in ("log.csv", "scores.json") if (out / n).exists()]
    found = {f"weight {i}": w for i, w in enumerate(keras.saving.load_model(model).get_weights())}
    return found | {path.name: path.read_text() for path in texts}


def assert_same(found, expected):
    """Bit for bit."""
    assert found.keys() == expected.keys()
    differ = [k for k, v in expected.items() if not np.array_equal(v, found[k])]
    assert not differ
