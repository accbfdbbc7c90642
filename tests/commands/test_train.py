import json

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests.commands.commandline import fails, run


@pytest.fixture
def train(models):
    """The beginning of a command that trains a small GAN."""
    start = ["train", "--data", models / "images", "--batch-size", 4]
    return [*start, "--image-size", 8, "--width", 2, "--latent-dim", 3]


def test_train(capsys, models, train):
    out = models / "gan"
    status, printed, _ = run(capsys, *train, "--out", out, "--iterations", 205, "--seed", 3)
    assert status == 0
    assert "204 generator updates" in printed  # two epochs of 102
    names = ["run.json", "generator.keras", "critic.keras", "gan.keras", "log.csv"]
    assert {p.name for p in out.iterdir()} == {*names, "curves.png", "samples.png"}
    gan = keras.saving.load_model(out / "gan.keras")
    assert int(gan.critic_optimizer.iterations) == 5 * 204
    assert int(gan.generator_optimizer.iterations) == 204
    z = gan.latent.sample(2, seed=0)
    assert z.shape == (2, 3)
    generator = keras.saving.load_model(out / "generator.keras")
    np.testing.assert_array_equal(gan.predict(z, verbose=0), generator.predict(z, verbose=0))

    # settings keep their types, and the log has the columns that there are values for
    settings = json.loads((out / "run.json").read_text())
    expected = {"iterations": 205, "width": 2, "learning_rate": None, "one_sided": False}
    assert expected.items() <= settings.items()
    log = np.genfromtxt(out / "log.csv", delimiter=",", names=True)
    assert log["epoch"].tolist() == [0, 1]
    assert not [name for name in log.dtype.names if name.startswith("val_")]
    assert all(np.isfinite(log[name]).all() for name in log.dtype.names)


def test_other_methods(capsys, models, train):
    train += ["--iterations", 3, "--method", "wgan"]
    assert run(capsys, *train, "--out", models / "wgan")[0] == 0
    trained = keras.saving.load_model(models / "wgan" / "gan.keras")
    assert isinstance(trained.critic_optimizer, keras.optimizers.RMSprop)
    assert int(trained.critic_optimizer.iterations) == 15
    assert max(np.abs(w).max() for w in trained.critic.get_weights()) <= np.float32(0.01)
    for option in (["--penalty", 1], ["--one-sided"]):
        message = fails(capsys, *train, *option, "--out", models / "bad")
        assert f"{option[0]} is not for --method wgan" in message
    assert not (models / "bad").exists()


@pytest.mark.parametrize("method", ["ct-gan", "hinge", "unrolled", "dualing"])
def test_methods_with_their_critics(capsys, models, train, method):
    out = models / method
    assert run(capsys, *train, "--iterations", 2, "--method", method, "--out", out)[0] == 0
    gan, critic = (keras.saving.load_model(out / f"{n}.keras") for n in ("gan", "critic"))
    kinds = {type(layer) for layer in critic.layers}
    assert (keras.layers.Dropout in kinds) == (method == "ct-gan")
    assert (keras.layers.SpectralNormalization in kinds) == (method == "hinge")
    assert isinstance(
        gan, {"unrolled": kgl.UnrolledGAN, "dualing": kgl.DualingGAN}.get(method, kgl.GAN)
    )
    if method == "dualing":
        message = fails(capsys, *train, "--method", method, "--penalty", 1, "--out", models / "bad")
        assert "--penalty is not for --method dualing" in message


def test_a_run_that_diverges_fails(capsys, models, train):
    out = models / "nan"
    status, printed, err = run(
        capsys, *train, "--iterations", 20, "--learning-rate", 1e30, "--out", out
    )
    assert status == 1
    assert "failed: NaN or infinite loss in epoch 1" in err
    assert "generator updates" not in printed
    assert not list(out.glob("*.keras"))
    assert not (out / "backup").exists()


def test_bad_input(capsys, models, train):
    out = ["--out", models / "out"]
    (models / "empty").mkdir()
    for arguments, message in (
        (["train", *out, "--data", "swiss_roll"], "those of swiss_roll have (2,)"),
        ([*train, *out, "--image-size", 9], "even height and width"),
        (["train", *out, "--data", "mnist", "--image-size", 9], "for folders of images, not for m"),
        (["train", *out, "--data", models / "empty"], "--data: No images found"),
        ([*train, *out, "--penalty", -1], "`weight` must be a non-negative finite number"),
        ([*train, *out, "--learning-rate", -1], "-1.0 is not in the range"),
    ):
        assert message in fails(capsys, *arguments)
        assert not (models / "out").exists(), arguments
