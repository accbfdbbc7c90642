import keras
import matplotlib.image
import numpy as np
import tensorflow as tf

import keras_gradlayer as kgl
from tests.commands.commandline import fails, run


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


def test_formats_and_sources_agree(capsys, models):
    """A file and its export give the samples that a server gives for these seeds, in any format."""
    tuner = kgl.FineTuner(
        keras.saving.load_model(models / "g.keras"),
        keras.saving.load_model(models / "c.keras"),
        0.5,
        max_layers=5,
    )
    tuner.stack.append()
    tuner.stack.append()
    tuner.save(models / "tuner.keras")
    kgl.serving.export_sampler(tuner, models / "m")
    z = tuner.latent.sample_rows(range(9, 14))
    few = ["--count", 5, "--seed", 9, "--batch-size", 2]
    for layers, expected in (([], tuner(z)), (["--layers", 1], tuner(z, layers=1))):
        drawn = []
        for source in (
            ["--model", models / "tuner.keras"],
            ["--saved-model", models / "m"],
            ["--saved-model", models / "m" / "1"],
        ):
            out = models / f"drawn{len(layers)}{len(drawn)}"
            status, printed, _ = run(capsys, "sample", *source, *few, *layers, "--out", out)
            assert status == 0
            assert "5 samples of shape (8, 8, 3)" in printed
            drawn.append(np.load(out / "samples.npy"))
            np.testing.assert_allclose(drawn[-1], expected, atol=1e-5)
            np.testing.assert_array_equal(drawn[-1], drawn[0])
            assert (out / "samples.png").exists()
        # the bytes of the shards are those of the array
        out = models / f"shards{len(layers)}"
        shards = ["--model", models / "tuner.keras", *few, *layers, "--format", "png"]
        assert run(capsys, "sample", *shards, "--out", out)[0] == 0
        for i, x in enumerate(drawn[0]):
            picture = matplotlib.image.imread(out / "samples-00000-of-00001" / f"{9 + i:010d}.png")
            np.testing.assert_allclose(picture, x / 2 + 0.5, atol=0.51 / 255)


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


def test_bad_input(capsys, models):
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
    assert "--format tfrecord and png also write to object stores" in fails(capsys, *arguments)
    arguments = ["sample", "--model", models / "images", "--out", out]
    assert "Expected a .keras file. Received: the folder" in fails(capsys, *arguments)
    (models / "full").mkdir()
    (models / "full" / "mine").write_text("mine")
    arguments = ["sample", "--model", models / "g.keras", "--format", "png"]
    assert "nothing was written" in fails(capsys, *arguments, "--out", models / "full")
    assert [p.name for p in (models / "full").iterdir()] == ["mine"]
    kgl.serving.export_sampler(keras.saving.load_model(models / "g.keras"), models / "m")
    new = ["--out", models / "samples"]
    assert "Either --model or --saved-model" in fails(capsys, "sample", *new)
    both = ["--model", models / "g.keras", "--saved-model", models / "m"]
    assert "Either --model or --saved-model" in fails(capsys, "sample", *both, *new)
    assert "does not exist" in fails(capsys, "sample", "--saved-model", models / "none", *new)
    arguments = ["sample", "--saved-model", models / "m", "--layers", 1, *new]
    assert "has 0 layers. Received: --layers 1" in fails(capsys, *arguments)
    assert not (models / "samples").exists()
