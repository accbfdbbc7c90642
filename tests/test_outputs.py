"""The commands for what was trained: score, export, sample."""

import json

import keras
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests.test_cli import fails, run


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


def test_bad_input_to_score(capsys, models, classifier):
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
    keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(192, "sigmoid"),
            keras.layers.Reshape((8, 8, 3)),
        ]
    ).save(models / "sigmoid.keras")
    for arguments, message in (
        ([*score, models / "g.keras"], "--image-size is needed for the folder of images"),
        ([*sized, models / "none.keras"], "There is no file"),
        ([*sized, "nothing"], "Expected a .keras file, the folder of a SavedModel"),
        ([*sized, models / "no_generator"], "'serving_default' from latents (batch, d) to images"),
        ([*sized, models / "broken.keras"], "samples with NaN or infinite values"),
        ([*sized, models / "images", "--layers", 1], "--layers is for .keras files of samplers"),
        ([*sized, models / "g.keras", "--layers", 1], "has 0 layers. Received: --layers 1"),
        ([*sized, models / "sigmoid.keras"], "gives samples in [0, 1]. Expected images in [-1, 1]"),
        ([*sized, models / "g.keras", "--out", models / "scores.json"], "scores.json exists"),
        (["score", "--classifier", "none.keras", *sized[3:], models / "g.keras"], "no classifier"),
    ):
        assert message in fails(capsys, *arguments)
    assert (models / "scores.json").read_text() == "mine"
    status, _, error = run(capsys, *sized, models / "damaged")
    assert status == 1
    assert "keras-gradlayer: failed: " in error


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


def test_export_and_sample_a_saved_model(capsys, models, tmp_path):
    tuner = kgl.FineTuner(
        keras.saving.load_model(models / "g.keras"),
        keras.saving.load_model(models / "c.keras"),
        0.5,
        max_layers=5,
    )
    tuner.stack.append()
    tuner.stack.append()
    tuner.save(models / "tuner.keras")
    out = tmp_path / "models" / "sampler"
    export = ["export", "--model", models / "tuner.keras", "--out", out]
    status, printed, _ = run(capsys, *export)
    assert status == 0
    assert printed.startswith("2 gradient layers, 0.")
    assert printed.strip().endswith(str(out / "1"))
    more = ["--version", 7, "--score", "fid=15.5", "--score", "is=3", "--data-range", -2, 2]
    more += ["--allowed-batch-size", 2, "--allowed-batch-size", 4]
    assert run(capsys, *export, *more)[0] == 0
    facts = kgl.serving.read_metadata(out)
    assert facts["scores"] == {"fid": 15.5, "is": 3.0}
    assert facts["data_range"] == [-2, 2]
    assert facts["allowed_batch_sizes"] == [2, 4]

    z = tuner.latent.sample_rows(range(9, 14))
    for folder in (out, out / "1"):
        for options, expected in (([], tuner(z)), (["--layers", 1], tuner(z, layers=1))):
            drawn = tmp_path / f"{folder.name}{len(options)}"
            arguments = ["--saved-model", folder, "--count", 5, "--seed", 9, "--batch-size", 2]
            assert run(capsys, "sample", *arguments, "--out", drawn, *options)[0] == 0
            np.testing.assert_allclose(np.load(drawn / "samples.npy"), expected, atol=1e-5)
            assert (drawn / "samples.png").exists()

    generator = kgl.FineTuner(None, kgl.models.mlp_critic((2,), units=4), 0.1)
    generator.save(models / "untrained.keras")
    arguments = ["--model", models / "untrained.keras", "--out", tmp_path / "untrained"]
    status, printed, err = run(capsys, "export", *arguments)
    assert status == 0
    assert printed.startswith("0 gradient layers")
    assert "keras-gradlayer: warning: 'fine_tuner" in err
    assert "has no gradient layers" in err


def test_samples_in_half_precision_and_of_another_range(capsys, tmp_path):
    """They are written in float32, and drawn from black to white."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    z = keras.Input((4,))
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64)(z))
    keras.Model(z, keras.layers.Activation("sigmoid")(50 * x)).save(tmp_path / "g.keras")
    arguments = ["sample", "--model", tmp_path / "g.keras", "--out", tmp_path / "out"]
    assert run(capsys, *arguments)[0] == 0
    samples = np.load(tmp_path / "out" / "samples.npy")
    assert samples.dtype == np.float32
    assert 0 <= samples.min() < 0.1 < 0.9 < samples.max() <= 1
    picture = matplotlib.image.imread(tmp_path / "out" / "samples.png")
    assert picture[..., :3].min() < 0.1  # 0.5 where 0 is taken for grey


def test_bad_input_to_export(capsys, models, tmp_path):
    out = tmp_path / "m"
    export = ["export", "--model", models / "g.keras", "--out", out]
    assert run(capsys, *export)[0] == 0
    before = sorted(p for p in out.rglob("*"))
    assert "Version 1 exists" in fails(capsys, *export, "--version", 1)
    assert "There is no file" in fails(capsys, "export", "--model", "none", "--out", out)
    assert "NAME=VALUE" in fails(capsys, *export, "--score", "fid")
    assert "`data_range` must be" in fails(capsys, *export, "--data-range", 1, 0)
    assert "increasing" in fails(
        capsys, *export, "--allowed-batch-size", 4, "--allowed-batch-size", 2
    )
    (tmp_path / "file").write_text("mine")
    arguments = ["export", "--model", models / "g.keras", "--out", tmp_path / "file"]
    assert "Received the file" in fails(capsys, *arguments)
    arguments = ["export", "--model", tmp_path / "file", "--out", out]
    assert "file" in fails(capsys, *arguments)
    assert sorted(p for p in out.rglob("*")) == before

    new = ["--out", tmp_path / "samples"]
    assert "Either --model or --saved-model" in fails(capsys, "sample", *new)
    both = ["--model", models / "g.keras", "--saved-model", out]
    assert "Either --model or --saved-model" in fails(capsys, "sample", *both, *new)
    assert "does not exist" in fails(capsys, "sample", "--saved-model", tmp_path / "none", *new)
    arguments = ["sample", "--saved-model", out, "--layers", 1, *new]
    assert "has 0 layers. Received: --layers 1" in fails(capsys, *arguments)
    assert not (tmp_path / "samples").exists()


def test_sample_many(capsys, models, monkeypatch):
    """Shards from a .keras file and from its export, by default above 10,000 samples."""
    generator, critic = (keras.saving.load_model(models / f"{n}.keras") for n in "gc")
    kgl.GAN(generator, critic).save(models / "gan.keras")
    kgl.serving.export_sampler(kgl.GAN(generator, critic), models / "exported")
    few = ["--count", 30, "--shards", 4, "--seed", 5, "--batch-size", 8]
    sources = (["--model", models / "gan.keras"], ["--saved-model", models / "exported"])
    for source, name in zip(sources, ("a", "b")):
        out = models / name
        arguments = ["sample", *source, *few, "--format", "tfrecord", "--out", out]
        status, printed, err = run(capsys, *arguments)
        assert status == 0
        assert printed.strip() == f"30 samples: {out}"
        assert "30/30" in err
        assert "go on with it by --resume" in fails(capsys, *arguments)
        assert "began with seed 5. Received: 6" in fails(
            capsys, *arguments, "--resume", "--seed", 6
        )
        (out / "samples-00002-of-00004.tfrecord").unlink()
        assert run(capsys, *arguments, "--resume")[0] == 0
    files = sorted(p.name for p in (models / "a").iterdir())
    assert files == ["manifest.json", *(f"samples-0000{k}-of-00004.tfrecord" for k in range(4))]
    for name in files:
        assert (models / "a" / name).read_bytes() == (models / "b" / name).read_bytes()

    # addresses stay as they are, and PNG files are those in the records
    arguments = ["sample", *sources[0], *few, "--format", "png", "--out", "ram://many/pngs"]
    assert run(capsys, *arguments)[0] == 0
    record = next(iter(tf.data.TFRecordDataset(str(models / "a" / files[1])))).numpy()
    feature = tf.train.Example.FromString(record).features.feature["image/encoded"]
    with tf.io.gfile.GFile("ram://many/pngs/samples-00000-of-00004/0000000005.png", "rb") as f:
        assert f.read() == feature.bytes_list.value[0]

    asked = []
    monkeypatch.setattr(kgl.serving, "write_samples", lambda *a, **k: asked.append(k["format"]))
    for options in (["--count", 10_001], ["--count", 2, "--format", "png"]):
        assert run(capsys, "sample", *sources[1], *options, "--out", models / "more")[0] == 0
    assert asked == ["tfrecord", "png"]
    arguments = ["sample", *sources[0], "--count", 10_001, "--format", "npy", "--batch-size", 500]
    assert run(capsys, *arguments, "--out", models / "array")[0] == 0
    assert len(np.load(models / "array" / "samples.npy")) == 10_001


def test_bad_input_to_sample_many(capsys, models):
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)]).save(models / "p.keras")
    out = models / "out"
    for source, options, message in (
        ("g", ["--shards", 3], "--shards is for --format tfrecord and png"),
        ("g", ["--resume"], "--resume is for --format tfrecord and png"),
        ("g", ["--shards", 65, "--format", "png"], "must be at most `count`, 64"),
        ("g", ["--format", "jpeg"], "'jpeg' is not one of"),
        ("g", ["--format", "tfrecord", "--layers", 1], "has 0 layers. Received: layers=1"),
        ("g", ["--format", "tfrecord", "--resume"], "There is no sampling in"),
        ("p", ["--format", "png"], "PNG files are for samples of shape (height, width"),
        ("none", ["--format", "png"], "There is no file"),
        ("c", ["--format", "tfrecord"], "one number for an image, as critics do"),
    ):
        arguments = ["sample", "--model", models / f"{source}.keras", *options, "--out", out]
        assert message in fails(capsys, *arguments)
        assert not out.exists()
    arguments = ["sample", "--model", models / "g.keras", "--out", "gs://bucket/samples"]
    assert "--format tfrecord and png write to object stores" in fails(capsys, *arguments)
    arguments = ["sample", "--model", models / "images", "--out", out]
    assert "Expected a .keras file. Received: the folder" in fails(capsys, *arguments)
    (models / "full").mkdir()
    (models / "full" / "mine").write_text("mine")
    arguments = ["sample", "--model", models / "g.keras", "--format", "png"]
    assert "nothing was written" in fails(capsys, *arguments, "--out", models / "full")
    assert [p.name for p in (models / "full").iterdir()] == ["mine"]
