import json

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_gradlayer as kgl
from keras_gradlayer import cli, pictures


def run(capsys, *args):
    """The command's exit status, output and error output."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in args])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def fails(capsys, *args):
    """The one line that a command ends with, at status 2."""
    status, out, err = run(capsys, *args)
    assert status == 2
    # a progress bar that an interrupt left behind may stand before it
    lines = [line for line in err.splitlines() if "keras-gradlayer: " in line]
    assert len(lines) == 1, err
    return lines[0].split("keras-gradlayer: ")[1]


def test_help(capsys):
    for command in ([], ["demo"], ["train"], ["finetune"], ["export"], ["sample"], ["score"]):
        status, out, _ = run(capsys, *command, "--help")
        assert status == 0
        assert "Usage" in out
    assert run(capsys, "--version")[1].strip().endswith(kgl.__version__)


@pytest.mark.parametrize("name", ["eight_gaussians", "swiss_roll"])
def test_demo(capsys, tmp_path, name):
    out = tmp_path / "run"
    arguments = ["--data", name, "--layers", 3, "--out", out]
    status, printed, _ = run(capsys, "demo", *arguments)
    assert status == 0
    assert "10,000 fresh samples" in printed
    assert ("8, each holds" if name == "eight_gaussians" else "distance to the roll") in printed
    assert (out / "flow.png").read_bytes().startswith(b"\x89PNG")
    samples = np.load(out / "samples" / "samples.npy")
    sampler = keras.saving.load_model(out / "sampler.keras")
    assert sampler.stack.depth == 3
    # what the other process drew is what this one draws
    expected = sampler.predict(sampler.latent.sample(10000, seed=0), verbose=0)
    # but for those within rounding of a kink of a critic: they take its other side
    off = np.abs(samples - expected).max(axis=1)
    assert np.mean(off > 1e-5) < 1e-3
    assert off.max() < 0.01
    assert "not an empty folder; nothing was written" in fails(capsys, "demo", *arguments)


def test_demo_finds_a_new_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo-eight_gaussians-1").mkdir(parents=True)
    assert run(capsys, "demo", "--layers", 1)[0] == 0
    assert (tmp_path / "runs" / "demo-eight_gaussians-2" / "flow.png").exists()


def test_experiment(capsys, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setitem(cli.EXPERIMENTS, "streamlines", drawn.append)
    out = tmp_path / "run"
    status, printed, _ = run(capsys, "demo", "--experiment", "streamlines", "--out", out)
    assert status == 0
    assert drawn == [out / "streamlines.png"]
    assert str(out / "streamlines.png") in printed
    for option in (["--layers", 5], ["--data", "swiss_roll"], ["--particles", "none"]):
        message = fails(
            capsys, "demo", "--experiment", "streamlines", *option, "--out", tmp_path / "bad"
        )
        assert f"{option[0]} is not for --experiment" in message
    assert not (tmp_path / "bad").exists()


def test_train_finetune_sample(capsys, models):
    """A folder of images to a GAN, to gradient layers, to samples."""
    gan, tuned = models / "gan", models / "tuned"
    small = ["--batch-size", 4, "--data", models / "images"]
    status, printed, _ = run(
        capsys, "train", *small, "--out", gan, "--iterations", 40, "--width", 2, "--image-size", 8
    )
    assert status == 0
    assert "40 generator updates" in printed
    assert {p.name for p in gan.iterdir()} == {
        "run.json",
        "generator.keras",
        "critic.keras",
        "gan.keras",
        "log.csv",
        "curves.png",
        "samples.png",
    }
    trained = keras.saving.load_model(gan / "gan.keras")
    assert int(trained.critic_optimizer.iterations) == 200
    assert int(trained.generator_optimizer.iterations) == 40

    files = ["--generator", gan / "generator.keras", "--critic", gan / "critic.keras"]
    status, printed, _ = run(
        capsys, "finetune", *small, *files, "--out", tuned, "--layers", 2, "--step-size", 0.1
    )
    assert status == 0
    assert "2 gradient layers" in printed
    tuner = keras.saving.load_model(tuned / "tuner.keras")
    assert int(tuner.critic_optimizer.iterations) == 10  # two passes over twenty images
    z = tuner.latent.sample(4, seed=0)
    np.testing.assert_allclose(tuner(z, layers=0), trained(z), atol=1e-6)
    assert (tuned / "report.html").exists()  # a page without scores as well
    for name in ("before", "after", "curves"):
        assert (tuned / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    sampler = tuned / "sampler.keras"
    for options, expected in (([], tuner(z)), (["--layers", 1], tuner(z, layers=1))):
        out = models / f"samples{len(options)}"
        arguments = ["sample", "--model", sampler, "--count", 4, "--out", out, *options]
        assert run(capsys, *arguments)[0] == 0
        np.testing.assert_allclose(np.load(out / "samples.npy"), expected, atol=1e-5)
        assert (out / "samples.png").exists()
    assert run(capsys, "sample", "--model", gan / "gan.keras", "--out", models / "g")[0] == 0
    assert np.load(models / "g" / "samples.npy").shape == (64, 8, 8, 3)


def test_train_by_other_methods(capsys, models):
    train = ["train", "--batch-size", 4, "--data", models / "images", "--iterations", 3]
    train += ["--width", 2, "--image-size", 8, "--method", "wgan"]
    assert run(capsys, *train, "--out", models / "wgan")[0] == 0
    trained = keras.saving.load_model(models / "wgan" / "gan.keras")
    assert isinstance(trained.critic_optimizer, keras.optimizers.RMSprop)
    assert int(trained.critic_optimizer.iterations) == 15
    assert max(np.abs(w).max() for w in trained.critic.get_weights()) <= np.float32(0.01)
    for option in (["--penalty", 1], ["--one-sided"]):
        message = fails(capsys, *train, *option, "--out", models / "bad")
        assert f"{option[0]} is not for --method wgan" in message
    assert not (models / "bad").exists()


def test_finetune_on_a_named_data_set_without_generator(capsys, tmp_path):
    kgl.models.mlp_critic((2,), units=8).save(tmp_path / "c.keras")
    status, _, _ = run(
        capsys,
        *["finetune", "--data", "eight_gaussians", "--critic", tmp_path / "c.keras"],
        *["--out", tmp_path / "out", "--layers", 2, "--critic-steps", 3, "--particles", "none"],
        *["--one-sided", "--steps-per-layer", 2, "--batch-size", 50],
        *["--step-size", 0.25, "--learning-rate", 3e-3, "--penalty", 7],
    )
    assert status == 0
    assert "replays" in (tmp_path / "out" / "log.csv").read_text()
    tuner = keras.saving.load_model(tmp_path / "out" / "tuner.keras")
    assert int(tuner.critic_optimizer.iterations) == 6
    assert (tuner.step_size, tuner.steps_per_layer, tuner.particles) == (0.25, 2, None)
    assert float(tuner.critic_optimizer.learning_rate) == pytest.approx(3e-3)
    # a fresh critic is flat: only the two-sided penalty, 7 (‖∇f‖ − 1)², is far from zero
    log = np.genfromtxt(tmp_path / "out" / "log.csv", delimiter=",", names=True)
    assert log["penalty"].max() < 0.5
    with tfds.testing.mock_data(num_examples=70):
        kgl.models.dcgan_critic((28, 28, 1), width=2).save(tmp_path / "d.keras")
        status, _, _ = run(
            capsys,
            *["finetune", "--data", "mnist", "--critic", tmp_path / "d.keras"],
            *["--out", tmp_path / "mnist", "--layers", 1, "--particles", 64],
        )
    assert status == 0
    assert "heldout_wasserstein" in (tmp_path / "mnist" / "log.csv").read_text()


def test_finetune_that_scores(capsys, models, classifier, monkeypatch):
    """Each depth is scored, the best is kept, and a page tells of the run."""
    out = models / "out"
    finetune = ["finetune", "--data", models / "images", "--batch-size", 4, "--layers", 3]
    finetune += ["--generator", models / "g.keras", "--critic", models / "c.keras"]
    scored = [*finetune, "--classifier", classifier, "--score-count", 20, "--out", out]
    status, printed, _ = run(capsys, *scored)
    assert status == 0
    record = json.loads((out / "scores.json").read_text())
    best = min(record["scores"], key=lambda row: row["frechet_distance"])
    assert f"{best['layers']} gradient layers" in printed
    assert json.loads((out / "run.json").read_text())["real"] == str(models / "images")
    assert keras.saving.load_model(out / "sampler.keras").stack.depth == max(best["layers"], 1)
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    for row in record["scores"]:
        assert f"{row['frechet_distance']:.4g}" in page
    for text in ("20 samples against 20 real images", "judge (", keras.__version__, "c.keras"):
        assert text in page
    assert "http" not in page  # nothing is fetched
    assert (out / "grid" / "by_depth.png").exists()
    assert "injectivity_margin" in (out / "log.csv").read_text().splitlines()[0]

    # each critic as far as it helps
    searches, search = [], kgl.callbacks.LineSearch
    monkeypatch.setattr(
        kgl.callbacks, "LineSearch", lambda scorer: searches.append(search(scorer)) or searches[0]
    )
    scored[-1] = models / "search"
    status, printed, _ = run(capsys, *scored, "--line-search")
    assert status == 0
    assert "The search and the scores take the same images" in printed
    assert searches[0].scorer.count == 20
    for option in (["--real", "cifar10"], ["--line-search"]):
        message = fails(capsys, *finetune, *option, "--out", models / "bad")
        assert message.startswith(f"{option[0]} is for --classifier")


def test_resume(capsys, models, monkeypatch):
    """An interrupted run goes on from its last epoch and ends like one that was not."""
    arguments = ["finetune", "--data", models / "images", "--batch-size", 4, "--layers", 3]
    arguments += ["--generator", models / "g.keras", "--critic", models / "c.keras"]
    assert run(capsys, *arguments, "--out", models / "straight")[0] == 0

    moves = []
    move = kgl.FineTuner.generator_move

    def interrupted(self, real):
        moves.append(1)
        if len(moves) == 3:
            raise KeyboardInterrupt
        return move(self, real)

    monkeypatch.setattr(kgl.FineTuner, "generator_move", interrupted)
    assert run(capsys, *arguments, "--out", models / "broken")[0] == 130
    monkeypatch.undo()
    assert "go on with --resume" in fails(capsys, *arguments, "--out", models / "broken")
    before = (models / "broken" / "before.png").read_bytes()
    other = [*arguments, "--out", models / "broken", "--resume", "--step-size", 0.7]
    message = fails(capsys, *other)
    assert "began with --step-size 0.5. Received: 0.7" in message
    assert (models / "broken" / "before.png").read_bytes() == before
    assert run(capsys, *arguments, "--out", models / "broken", "--resume")[0] == 0
    logs = [(models / n / "log.csv").read_text().splitlines() for n in ("straight", "broken")]
    assert len(logs[0]) == len(logs[1]) == 4
    assert logs[0][:3] == logs[1][:3]  # the third layer saw the data in another order
    tuner = keras.saving.load_model(models / "broken" / "tuner.keras")
    assert tuner.stack.depth == 3
    assert "there is no unfinished run" in fails(
        capsys, *arguments, "--out", models / "broken", "--resume"
    )


def test_interrupted_before_the_first_epoch_ended(capsys, models, monkeypatch):
    arguments = ["finetune", "--data", models / "images", "--batch-size", 4, "--layers", 1]
    arguments += ["--generator", models / "g.keras", "--critic", models / "c.keras"]
    arguments += ["--out", models / "early"]

    def interrupted(self, real):
        raise KeyboardInterrupt

    monkeypatch.setattr(kgl.FineTuner, "generator_move", interrupted)
    status, _, err = run(capsys, *arguments)
    assert status == 130
    assert "go on with --resume" in err
    monkeypatch.undo()
    assert run(capsys, *arguments, "--resume")[0] == 0
    assert keras.saving.load_model(models / "early" / "tuner.keras").stack.depth == 1


@pytest.mark.parametrize("command", ["train", "finetune"])
def test_a_result_that_could_not_be_saved(capsys, models, monkeypatch, command):
    """The disk was full: the run is not lost with it."""
    out, kind = models / "full", kgl.GAN if command == "train" else kgl.FineTuner
    arguments = [command, "--data", models / "images", "--batch-size", 4, "--out", out]
    if command == "train":
        arguments += ["--iterations", 2, "--image-size", 8, "--width", 2]
    else:
        arguments += ["--generator", models / "g.keras", "--critic", models / "c.keras"]
        arguments += ["--layers", 1]

    def full(self, path):
        path.write_text("a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kind, "save", full)
    assert "No space left" in fails(capsys, *arguments)
    monkeypatch.undo()
    assert run(capsys, *arguments, "--resume")[0] == 0
    name = "gan.keras" if command == "train" else "tuner.keras"
    assert isinstance(keras.saving.load_model(out / name), kind)
    assert not list(out.glob("unfinished*"))


def test_a_run_that_diverges_fails(capsys, models):
    out = models / "nan"
    arguments = ["train", "--data", models / "images", "--batch-size", 4, "--image-size", 8]
    arguments += ["--width", 2, "--iterations", 20, "--learning-rate", 1e30, "--out", out]
    status, printed, err = run(capsys, *arguments)
    assert status == 1
    assert "failed: NaN or Inf loss" in err
    assert "generator updates" not in printed
    assert not list(out.glob("*.keras"))


def test_no_arguments_is_help(capsys):
    status, out, _ = run(capsys)
    assert status == 2
    assert len(out.splitlines()) > 8


def test_bad_input(capsys, models):
    files = ["--generator", models / "g.keras", "--critic", models / "c.keras"]
    data = ["--data", models / "images", "--batch-size", 4]
    out = ["--out", models / "out"]
    finetune = ["finetune", *files, *data, *out]
    cases = [
        (["finetune", *files, *out, "--data", "imagenet"], "must be one of cifar10, mnist, stl10"),
        (["finetune", *data, *out, "--critic", "none.keras"], "There is no file none.keras"),
        ([*finetune, "--step-size", -1], "`step_size` must be a positive finite number"),
        ([*finetune, "--step-size", "big"], "'big' is not a valid float"),
        ([*finetune, "--insert", "middle"], "'top', 'bottom' or the name of a layer"),
        ([*finetune, "--particles", "some"], '--particles must be "auto", "none" or a number'),
        ([*finetune, "--layers", 0], "0 is not in the range"),
        (["finetune", *files, *out, *data[:2], "--batch-size", 21], "batch_size=21 for 20 images"),
        (["finetune", *files, *data], "Missing option '--out'"),
        (
            ["finetune", *files, "--data", "eight_gaussians", *out],
            "shape (8, 8, 3); those of eight_gaussians have (2,)",
        ),
        (["train", *out, "--data", "swiss_roll"], "train makes a DCGAN for images"),
        (["train", *out, *data, "--image-size", 9], "even height and width"),
        ([*finetune, "--resume"], "there is no unfinished run in"),
        (["sample", *out, "--model", models / "c.keras"], "one number for an image, as critics do"),
        (["train", *out, "--data", "mnist", "--image-size", 9], "for folders of images, not for m"),
        ([*finetune, "--penalty", -1], "`weight` must be a non-negative finite number"),
        ([*finetune, "--learning-rate", -1], "-1.0 is not in the range"),
        (["demo", "--data", "moons"], "'moons' is not one of"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ]
    for arguments, message in cases:
        assert message in fails(capsys, *arguments)
        assert not (models / "out").exists(), arguments
    kgl.GAN(
        keras.saving.load_model(models / "g.keras"), keras.saving.load_model(models / "c.keras")
    ).save(models / "gan.keras")
    arguments = ["sample", *out, "--model", models / "gan.keras", "--layers", 1]
    assert "--layers is for a model that has gradient layers" in fails(capsys, *arguments)
    for command in (finetune, ["demo"]):
        arguments = [*command, "--out", "gs://bucket/run"]
        assert "Expected a folder on this machine" in fails(capsys, *arguments)
    (models / "file").write_text("mine")
    assert "nothing was written" in fails(capsys, "demo", "--out", models / "file")
    assert (models / "file").read_text() == "mine"
    (models / "broken.keras").write_text("not a model")
    arguments = ["sample", *out, "--model", models / "broken.keras"]
    assert fails(capsys, *arguments)


def test_interrupt(capsys, monkeypatch):
    monkeypatch.setattr(cli.demos, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(cli, "new_folder", lambda path: path)
    assert run(capsys, "demo")[0] == 130


def test_what_has_no_picture(tmp_path):
    for shape in ((4, 5), (4, 8, 8, 2)):
        assert not pictures.sample_picture(tmp_path / "p.png", np.zeros(shape))
    assert not (tmp_path / "p.png").exists()
