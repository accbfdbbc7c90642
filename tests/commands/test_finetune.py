import json
import re

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_gradlayer as kgl
from keras_gradlayer.commands import report
from tests.commands.commandline import fails, run
from tests.models import test_conditions as conditional


@pytest.fixture
def finetune(models):
    """The beginning of a command that fine-tunes a small GAN on a folder of images."""
    start = ["finetune", "--data", models / "images", "--batch-size", 4]
    return [*start, "--generator", models / "g.keras", "--critic", models / "c.keras"]


def sigmoid_generator(path, shape):
    """A generator of images in [0, 1]."""
    layers = [keras.layers.Dense(int(np.prod(shape))), keras.layers.Reshape(shape)]
    layers = [keras.layers.Input((4,)), *layers, keras.layers.Activation("sigmoid")]
    keras.Sequential(layers).save(path)


def test_finetune(capsys, models, finetune):
    out = models / "tuned"
    status, printed, _ = run(capsys, *finetune, "--out", out, "--layers", 2, "--step-size", 0.1)
    assert status == 0
    assert "2 gradient layers (η = 0.1)" in printed
    tuner = keras.saving.load_model(out / "tuner.keras")
    assert int(tuner.critic_optimizer.iterations) == 10  # two passes over twenty images
    z = tuner.latent.sample(4, seed=0)
    generator = keras.saving.load_model(models / "g.keras")
    np.testing.assert_allclose(tuner(z, layers=0), generator(z), atol=1e-6)
    sampler = keras.saving.load_model(out / "sampler.keras")
    np.testing.assert_allclose(sampler(z), tuner(z), atol=1e-6)
    page = (out / "report.html").read_text()  # without scores
    assert "<h1>2 layers stacked, judged by the critic alone</h1>" in page
    assert "2 gradient layers (η = 0.1)." in page
    cells = re.findall("<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert cells == [("1", "0.1", "1"), ("2", "0.1", "2")]  # layer, step, epoch
    assert (
        "try <code>--layers 4</code>, with a new <code>--out</code>." in page
    )  # there was room for two
    for name in ("before", "after", "curves"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_points_without_generator(capsys, tmp_path):
    kgl.models.mlp_critic((2,), units=8).save(tmp_path / "c.keras")
    status, _, _ = run(
        capsys,
        *["finetune", "--data", "eight_gaussians", "--critic", tmp_path / "c.keras"],
        *["--out", tmp_path / "out", "--layers", 2, "--critic-steps", 3, "--particles", "none"],
        *["--one-sided", "--steps-per-layer", 2, "--batch-size", 50],
        *["--step-size", 0.25, "--learning-rate", 3e-3, "--penalty", 7],
        *["--objective", "hinge"],
    )
    assert status == 0
    tuner = keras.saving.load_model(tmp_path / "out" / "tuner.keras")
    assert int(tuner.critic_optimizer.iterations) == 6
    assert (tuner.step_size, tuner.steps_per_layer, tuner.particles) == (0.25, 2, None)
    assert tuner.objective.name == "hinge"
    assert float(tuner.critic_optimizer.learning_rate) == pytest.approx(3e-3)
    log = np.genfromtxt(tmp_path / "out" / "log.csv", delimiter=",", names=True)
    assert log["replays"].tolist() == [0, 1]
    # a fresh critic is flat: only the two-sided penalty, 7 (‖∇f‖ − 1)², is far from zero
    assert log["penalty"].max() < 0.5


def test_a_named_data_set_in_another_range(capsys, tmp_path):
    """Images, and those held out, are scaled to the range of a sigmoid."""
    sigmoid_generator(tmp_path / "g.keras", (28, 28, 1))
    seen = []
    fit, monitor = kgl.FineTuner.fit, kgl.callbacks.FlowMonitor

    with tfds.testing.mock_data(num_examples=70), pytest.MonkeyPatch.context() as patch:
        patch.setattr(kgl.FineTuner, "fit", lambda *a, **k: seen.append(a[1]) or fit(*a, **k))
        patch.setattr(
            kgl.callbacks, "FlowMonitor", lambda x, **k: seen.append(x) or monitor(x, **k)
        )
        kgl.models.dcgan_critic((28, 28, 1), width=2).save(tmp_path / "d.keras")
        status, printed, err = run(
            capsys,
            *["finetune", "--data", "mnist", "--critic", tmp_path / "d.keras"],
            *["--generator", tmp_path / "g.keras", "--out", tmp_path / "mnist"],
            *["--layers", 1, "--particles", 64],
        )
    assert status == 0
    assert "The generator's range is [0, 1]; images are scaled to it." in printed
    assert "warning" not in err
    for data in seen:
        values = np.stack(list(data.unbatch().as_numpy_iterator()))
        assert 0 <= values.min() < 0.01 < 0.99 < values.max() <= 1
    assert "heldout_wasserstein" in (tmp_path / "mnist" / "log.csv").read_text()


def test_scores(capsys, models, classifier, finetune):
    """Each depth is scored, the best is kept, and a page tells of the run."""
    out = models / "out"
    scored = [*finetune, "--layers", 3, "--classifier", classifier, "--score-count", 20]
    scored += ["--average-critic", 0]
    status, printed, _ = run(capsys, *scored, "--out", out)
    assert status == 0
    record = json.loads((out / "scores.json").read_text())
    best = min(record["scores"], key=lambda row: row["frechet_distance"])
    assert f"{best['layers']} gradient layer" in printed
    assert json.loads((out / "run.json").read_text())["real"] == str(models / "images")
    assert keras.saving.load_model(out / "sampler.keras").stack.depth == best["layers"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    kept, first = best["layers"], record["scores"][0]
    change = f"{first['frechet_distance']:.3g} to {best['frechet_distance']:.3g}"
    word = {0: "No layer", 1: "1 layer"}.get(kept, f"{kept} layers")
    end = change if kept else f"{first['frechet_distance']:.3g}"
    assert f"<h1>{word} kept, Fréchet distance {end}</h1>" in page
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings[:3] == ["Steps", "What to try next", "Scores by depth"]
    texts = ["20 samples against 20 real images", "judge (", keras.__version__, "c.keras"]
    texts += [f"{row['frechet_distance']:.4g}" for row in record["scores"]]
    assert [text for text in texts if text not in page] == []
    assert page.count("http") == 0  # nothing is fetched
    assert (out / "grid" / "by_depth.png").exists()
    assert "injectivity_margin" in (out / "log.csv").read_text().splitlines()[0]

    for options, message in (
        (["--real", "cifar10"], "--real needs --classifier"),
        (["--line-search"], "--line-search needs --classifier"),
        (["--objective", "hinges"], "`objective` must be one of 'wasserstein'"),
    ):
        assert message in fails(capsys, *finetune, *options, "--out", models / "bad")
    assert not (models / "bad").exists()


def test_line_search(capsys, models, classifier, finetune):
    """Each critic is followed as far as it helps, and the page has the accepted step sizes."""
    out = models / "search"
    scored = [*finetune, "--layers", 3, "--classifier", classifier, "--score-count", 20]
    scored += ["--average-critic", 0]
    status, printed, _ = run(capsys, *scored, "--line-search", "--out", out)
    assert status == 0
    assert "The search and the scores use the same images" in printed
    tuner = keras.saving.load_model(out / "tuner.keras")
    sizes = np.asarray(tuner.stack.step_sizes).tolist()
    assert set(sizes) <= {0.5, 0.25, 0.125}
    assert report.describe_layers(sizes) in printed
    assert report.describe_layers(sizes) in (out / "report.html").read_text()
    scores = json.loads((out / "scores.json").read_text())["scores"]
    distances = [row["frechet_distance"] for row in scores]
    assert distances == sorted(distances, reverse=True)  # searched and scored on the same images


def test_the_start_is_said(capsys, models, classifier, finetune):
    """Of three places and two critics the best: by the scores that are said."""
    out = models / "run"
    arguments = [*finetune, "--classifier", classifier, "--layers", 1, "--average-critic", 3]
    status, printed, _ = run(capsys, *arguments, "--out", out)
    assert status == 0
    assert "The game of --objective wasserstein goes on for 3 generator updates" in printed
    found = re.findall("Scores of first layers, (.*) critic, wasserstein: (.*)\\.", printed)
    assert [name for name, _ in found] == ["given", "averaged"]
    losses = {
        (name, place): float(loss)
        for name, each in found
        for place, loss in (part.rsplit(" ", 1) for part in each.split(", "))
    }
    assert {"on the latent"} < {place for _, place in losses}
    place, name, objective = re.search(
        "Layers go (.*), (.*) critic, objective (.*)\\.", printed
    ).groups()
    assert objective == "wasserstein"
    assert losses[name, place] == min(losses.values())
    insert = keras.saving.load_model(out / "tuner.keras").insert
    words = {"top": "before the output activation", "bottom": "on the latent"}
    assert place == words.get(insert, f"after {insert}")


def test_the_averaged_critic_is_followed(capsys, models, classifier, finetune, monkeypatch):
    """Where it scores better; the tuner begins with it."""
    better = keras.saving.load_model(models / "c.keras")
    better.set_weights([-w for w in better.get_weights()])
    monkeypatch.setattr(kgl.presets.Preset, "average_critic", lambda *_, **__: better)
    monkeypatch.setattr(
        kgl, "best_insert", lambda g, c, *_, **__: ("top", {"top": float(c is not better)})
    )
    arguments = [*finetune, "--classifier", classifier, "--layers", 1, "--learning-rate", 1e-30]
    status, printed, _ = run(capsys, *arguments, "--out", models / "out")
    assert status == 0
    assert "before the output activation, averaged critic, objective wasserstein." in printed
    tuner = keras.saving.load_model(models / "out" / "tuner.keras")
    for found, expected in zip(tuner.critic.get_weights(), better.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_game_that_diverges(capsys, models, classifier, finetune, monkeypatch):
    """The critic that was handed over is followed."""

    def diverge(*_, **__):
        raise FloatingPointError("The game diverged: NaN or infinity in w.")

    monkeypatch.setattr(kgl.presets.Preset, "average_critic", diverge)
    arguments = [*finetune, "--classifier", classifier, "--layers", 1]
    status, printed, _ = run(capsys, *arguments, "--out", models / "out")
    assert status == 0
    assert "The given critic is followed. The game diverged: NaN or infinity in w." in printed
    assert "given critic, objective" in printed


def test_a_sigmoid_critic_is_followed_along_the_better_gradient(
    capsys, models, classifier, finetune
):
    """Minimax and non-saturating are both tried, unless the user names one."""
    critic = keras.saving.load_model(models / "c.keras")
    x = keras.Input(critic.input_shape[1:])
    keras.Model(x, keras.layers.Activation("sigmoid")(critic(x))).save(models / "s.keras")
    begin = [*finetune[:-1], models / "s.keras", "--classifier", classifier, "--layers", 1]
    begin += ["--average-critic", 0]
    status, printed, _ = run(capsys, *begin, "--out", models / "both")
    assert status == 0
    games = re.findall("Scores of first layers, given critic, (.*?):", printed)
    assert games == ["minimax", "non_saturating"]
    chosen = re.search("objective (.*)\\.", printed)[1]
    assert keras.saving.load_model(models / "both" / "tuner.keras").objective.name == chosen
    _, printed, _ = run(capsys, *begin, "--objective", "minimax", "--out", models / "one")
    assert re.findall("Scores of first layers, given critic, (.*?):", printed) == ["minimax"]


def test_scores_of_a_generator_of_another_range(capsys, models, classifier, finetune):
    """A sigmoid's samples are scored as those of the same generator in [-1, 1] are."""
    sigmoid_generator(models / "sigmoid.keras", (8, 8, 3))
    sigmoid = keras.saving.load_model(models / "sigmoid.keras")
    scaled = keras.layers.Rescaling(2.0, -1.0)(sigmoid.outputs[0])
    keras.Model(sigmoid.inputs, scaled).save(models / "scaled.keras")
    found = []
    for name in ("sigmoid", "scaled"):
        score = ["score", models / f"{name}.keras", "--classifier", classifier, "--count", 20]
        score += ["--real", models / "images", "--image-size", 8, "--out", models / f"{name}.json"]
        assert run(capsys, *score)[0] == 0
        found.append(json.loads((models / f"{name}.json").read_text())[0]["scores"])
    assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5)

    scored = [*finetune, "--layers", 1, "--classifier", classifier, "--score-count", 20]
    scored += ["--average-critic", 0]
    scored += ["--generator", models / "sigmoid.keras"]
    status, _, err = run(capsys, *scored, "--out", models / "out")
    assert status == 0
    assert "warning" not in err
    first = json.loads((models / "out" / "scores.json").read_text())["scores"][0]
    assert first["frechet_distance"] == pytest.approx(found[1]["frechet_distance"], rel=1e-3)


def table(path, count=200, width=3):
    """A table of samples in a file, and a GAN of tables."""
    x = np.random.default_rng(0).normal(0.2, 0.1, (count, width)).astype("float32")
    np.save(path / "x.npy", x)
    z = keras.Input((4,))
    ends = [keras.layers.Dense(width - 1, "tanh")(z), keras.layers.Dense(1, "sigmoid")(z)]
    keras.Model(z, keras.layers.Concatenate()(ends)).save(path / "table.keras")
    kgl.models.mlp_critic((width,), units=8).save(path / "c.keras")
    return x


def test_a_table_in_a_file(capsys, tmp_path):
    """Scored by the distance to a tenth that is held out; the best depth is kept."""
    x = table(tmp_path)
    start = ["finetune", "--generator", tmp_path / "table.keras", "--critic", tmp_path / "c.keras"]
    start += ["--batch-size", 20]
    out = tmp_path / "out"
    options = ["--layers", 2, "--step-size", 0.1, "--out", out]
    status, _, err = run(capsys, *start, "--data", tmp_path / "x.npy", *options)
    assert (status, "warning" in err) == (0, False)
    tuner = keras.saving.load_model(out / "tuner.keras")
    rows = json.loads((out / "scores.json").read_text())["scores"]
    held_out = x[np.random.default_rng(0).permutation(200)[:20]]
    z = tuner.latent.sample(1000, seed=0)
    expected = kgl.metrics.sliced_wasserstein(held_out, tuner(z, layers=0))
    assert rows[0]["sliced_wasserstein"] == pytest.approx(expected, rel=1e-4)
    best = min(rows, key=lambda row: row["sliced_wasserstein"])
    assert tuner.stack.depth == best["layers"]
    assert int(tuner.critic_optimizer.iterations) == 18  # two passes over nine tenths
    assert "sliced wasserstein" in (out / "report.html").read_text()
    assert not (out / "grid").exists()

    np.savez(tmp_path / "two.npz", a=x, b=x)
    np.savez(tmp_path / "ints.npz", x=np.ones((9, 3), int))
    for data, message in (
        ("none.npy", "none.npy cannot be read"),
        ("two.npz", "two.npz must hold the samples as 'x'. Received: a, b"),
        ("ints.npz", "must hold floats, or images of uint8. Received: int64"),
    ):
        line = fails(capsys, *start, "--data", tmp_path / data, "--out", tmp_path / "bad")
        assert message in line
    np.save(tmp_path / "wide.npy", np.ones((9, 5), "float32"))
    line = fails(capsys, *start, "--data", tmp_path / "wide.npy", "--out", tmp_path / "bad")
    assert "have the shape (3,). Expected an array of shape (n, 3). Received: (9, 5)" in line


def test_layers_in_words():
    assert report.describe_layers([]) == "0 gradient layers"
    assert report.describe_layers([0.5]) == "1 gradient layer (η = 0.5)"
    assert report.describe_layers([0.5, 0.5]) == "2 gradient layers (η = 0.5)"
    assert report.describe_layers([0.5, 0.25, 0.5]) == "3 gradient layers (η = 0.5, 0.25, 0.5)"


def test_bad_input(capsys, models, finetune):
    out = ["--out", models / "out"]
    files = finetune[5:]
    (models / "broken.keras").write_text("not a model")
    for arguments, message in (
        (["finetune", *files, *out, "--data", "imagenet"], "must be one of cifar10, mnist, stl10"),
        ([*finetune, *out, "--critic", "none.keras"], "There is no file none.keras"),
        ([*finetune, *out, "--critic", models / "broken.keras"], "broken.keras cannot be loaded"),
        ([*finetune, *out, "--step-size", -1], "`step_size` must be a positive finite number"),
        ([*finetune, *out, "--step-size", "big"], "a positive number. Received: big"),
        ([*finetune, *out, "--insert", "middle"], "'top', 'bottom' or the name of a layer"),
        ([*finetune, *out, "--particles", "some"], '--particles must be "auto", "none" or a num'),
        ([*finetune, *out, "--layers", 0], "0 is not in the range"),
        ([*finetune, *out, "--average-critic", 5], "needs --generator, --insert auto, and steps"),
        ([*finetune, *out, "--batch-size", 21], "batch_size=21 for 20 images"),
        (finetune, "Missing option '--out'"),
        (
            [*finetune, *out, "--data", "eight_gaussians"],
            "shape (8, 8, 3); those of eight_gaussians have (2,)",
        ),
        ([*finetune, *out, "--resume"], "there is no unfinished run in"),
        ([*finetune, *out, "--penalty", -1], "`weight` must be a non-negative finite number"),
        ([*finetune, *out, "--learning-rate", -1], "-1.0 is not in the range"),
        ([*finetune, "--out", "gs://bucket/run"], "Expected a folder on this machine"),
    ):
        assert message in fails(capsys, *arguments)
        assert not (models / "out").exists(), arguments


def test_conditional_gan_in_files(capsys, tmp_path):
    """Data and classes in one file: tuned, sampled by class, exported, with no other options."""
    generator, critic = conditional.parts()
    second = keras.layers.Dense(5, "softmax", name="classes")(critic.layers[-2].output)
    both = keras.Model(critic.inputs, [second, critic.outputs[0]])
    generator.save(tmp_path / "g.keras")
    both.save(tmp_path / "d.keras")
    x, labels = conditional.data(100)
    np.savez(tmp_path / "data.npz", x=x, y=labels)
    start = ["finetune", "--data", tmp_path / "data.npz", "--layers", 2, "--average-critic", 2]
    start += ["--generator", tmp_path / "g.keras", "--critic", tmp_path / "d.keras"]
    message = fails(capsys, *start, "--out", tmp_path / "out")
    assert "--critic-output must name the output" in message
    start += ["--critic-output", 1]
    np.save(tmp_path / "few.npy", labels[1:])
    message = fails(capsys, *start, "--labels", tmp_path / "few.npy", "--out", tmp_path / "out")
    assert "Expected a condition for each of the 100 samples. Received: 99" in message
    status, printed, _ = run(capsys, *start, "--out", tmp_path / "out")
    assert status == 0
    sampler = keras.saving.load_model(tmp_path / "out" / "sampler.keras")
    assert sampler.conditions.known == 5
    file = ["--model", tmp_path / "out" / "sampler.keras"]
    run(capsys, "sample", *file, "--count", 64, "--label", 3, "--out", tmp_path / "three")
    z = sampler.latent.sample_rows(range(64))
    expected = sampler([z, np.full((64, 1), 3)])
    found = np.load(tmp_path / "three" / "samples.npy")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    status, _, _ = run(capsys, "export", *file, "--out", tmp_path / "served")
    assert status == 0
    assert kgl.serving.read_metadata(tmp_path / "served")["condition_shape"] == [1]


def test_labels_of_a_data_set(capsys, tmp_path, real_data):
    images = kgl.data.mnist(split="train[:200]", batch_size=50, labels=True)
    x, y = next(iter(images))
    assert x.shape == (50, 28, 28, 1)
    truth = tfds.load("mnist", split="train[:200]", data_dir=real_data, batch_size=-1)
    pairs = {(tuple(np.ravel(i)), int(label)) for i, label in tfds_pairs(truth)}
    for image, label in zip(x.numpy(), y.numpy()):
        pixels = tuple(np.ravel(np.uint8(np.round((image + 1) * 127.5))))
        assert (pixels, int(label)) in pairs


def tfds_pairs(batch):
    return list(zip(batch["image"].numpy(), batch["label"].numpy()))
