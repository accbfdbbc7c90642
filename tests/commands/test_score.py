import json

import keras
import numpy as np
import pytest

import keras_gradlayer as kgl
from tests.commands.commandline import fails, run


def test_score(capsys, models, classifier):
    """Whatever can be drawn from is scored; the table says what does not compare."""
    generator = keras.saving.load_model(models / "g.keras")
    tuner = kgl.FineTuner(generator, keras.saving.load_model(models / "c.keras"), 0.5)
    tuner.stack.append()
    sampler = tuner.sampler()
    sampler.save(models / "s.keras")
    kgl.serving.export_sampler(sampler, models / "exported", allowed_batch_sizes=(1, 64))
    score = ["score", "--classifier", classifier, "--real", models / "images", "--count", 20]
    score += ["--image-size", 8]
    sources = [models / name for name in ("s.keras", "g.keras", "exported", "images")]
    status, printed, _ = run(capsys, *score, *sources, "--out", models / "scores.json")
    assert status == 0
    assert "20 samples against 20 real images, classifier judge (" in printed
    assert "not comparable" not in printed
    record = json.loads((models / "scores.json").read_text())
    assert [r["source"] for r in record] == [str(s) for s in sources]
    real = kgl.data.image_folder(models / "images", (8, 8, 3), batch_size=1, shuffle=False)
    scorer = kgl.metrics.Scorer(classifier, real)
    samples = (
        sampler(sampler.latent.sample(20, seed=0)).numpy(),
        generator(sampler.latent.sample(20, seed=0)).numpy(),
        sampler(sampler.latent.sample_rows(range(20))).numpy(),
    )
    for row, x in zip(record, samples):
        assert row["scores"] == pytest.approx(scorer(x).scores, rel=1e-3, abs=1e-5)
    assert record[3]["scores"]["frechet_distance"] == pytest.approx(0, abs=1e-5)

    # by depth, which for no layers is the generator
    by_depth = [*score, models / "s.keras", "--layers", 0, "--layers", 1]
    assert run(capsys, *by_depth, "--out", models / "depth.json")[0] == 0
    depth = json.loads((models / "depth.json").read_text())
    assert depth[0]["scores"] == pytest.approx(record[1]["scores"], rel=1e-4, abs=1e-6)
    assert depth[1]["scores"] == pytest.approx(record[0]["scores"], rel=1e-4, abs=1e-6)

    # a generator that Keras itself exported draws what its file draws
    generator.export(models / "plain", verbose=False)
    plain = [*score, models / "plain", "--out", models / "plain.json"]
    assert run(capsys, *plain)[0] == 0
    found = json.loads((models / "plain.json").read_text())[0]["scores"]
    assert found == pytest.approx(record[1]["scores"], rel=1e-4, abs=1e-6)

    # of fewer images than the others
    fewer = [*score[:-4], "--count", 30, "--image-size", 8, models / "s.keras", models / "images"]
    assert "differ in samples: 20 and 30" in run(capsys, *fewer)[1]


def test_bad_input(capsys, models, classifier):
    score = ["score", "--classifier", classifier, "--real", models / "images", "--count", 20]
    sized = [*score, "--image-size", 8]
    (models / "scores.json").write_text("mine")
    keras.saving.load_model(classifier).export(models / "no_generator", verbose=False)
    broken = keras.saving.load_model(models / "g.keras")
    broken.set_weights([w * np.nan for w in broken.get_weights()])
    broken.save(models / "broken.keras")
    (models / "damaged").mkdir()
    for name in ("a", "b"):
        (models / "damaged" / f"{name}.png").write_bytes(b"no picture")
    for arguments, message in (
        ([*score, models / "g.keras"], "--image-size is needed for the folder of images"),
        ([*sized, models / "none.keras"], "There is no file"),
        ([*sized, "nothing"], "Expected a .keras file, the folder of a SavedModel"),
        ([*sized, models / "no_generator"], "'serving_default' from latents (batch, d) to images"),
        ([*sized, models / "broken.keras"], "samples with NaN or infinite values"),
        ([*sized, models / "images", "--layers", 1], "--layers is for .keras files of samplers"),
        ([*sized, models / "g.keras", "--layers", 1], "has 0 layers. Received: --layers 1"),
        ([*sized, models / "g.keras", "--out", models / "scores.json"], "scores.json exists"),
        (["score", "--classifier", "none.keras", *sized[3:], models / "g.keras"], "no classifier"),
    ):
        assert message in fails(capsys, *arguments)
    assert (models / "scores.json").read_text() == "mine"
    assert "Received: 2 files: " in fails(capsys, *sized, models / "damaged")
    real = [*sized[:4], models / "damaged", *sized[5:], models / "g.keras"]
    assert "--real: " in fails(capsys, *real)


def test_grey_folders(capsys, models):
    """A folder is read in the channels that the classifier takes, the first of its images only."""
    x = keras.Input((8, 8, 1))
    features = keras.layers.Flatten()(x)
    judge = keras.Model(x, {"features": features, "logits": keras.layers.Dense(3)(features)})
    judge.save(models / "grey.keras")
    score = ["score", "--classifier", models / "grey.keras", "--image-size", 8]
    score += ["--real", models / "images", models / "images", "--count", 13]
    assert run(capsys, *score, "--out", models / "grey.json")[0] == 0
    (found,) = json.loads((models / "grey.json").read_text())
    assert found["conditions"]["samples"] == found["conditions"]["real"] == 13
    assert found["conditions"]["resizing"] == "none"
    assert found["scores"]["frechet_distance"] == pytest.approx(0, abs=1e-5)
