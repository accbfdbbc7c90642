"""Many samples in shards: the same bytes however they are cut, stopped and spread."""

import json
import multiprocessing
import os
import runpy
import shutil
import signal
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_gradlayer as kgl
from tests.serving.conftest import ROOT


def tree(folder):
    """Every file below a folder, with its bytes."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def records(folder):
    """The records of all shards, a list for each."""
    files = sorted(folder.glob("*.tfrecord"))
    return [list(tf.data.TFRecordDataset(str(f)).as_numpy_iterator()) for f in files]


def flat(lists):
    return [x for each in lists for x in each]


@pytest.fixture(scope="module", params=["images", "toy"])
def sampler(request):
    return kgl.serving.SeededSampler(request.getfixturevalue(request.param)[1])


def test_samples_do_not_depend_on_the_shards(sampler, tmp_path):
    for shards in (1, 3, 7):
        kgl.serving.write_samples(
            sampler, tmp_path / str(shards), 100, seed=9, shards=shards, batch_size=16
        )
    one, three, seven = (records(tmp_path / str(n)) for n in (1, 3, 7))
    assert [len(shard) for shard in three] == [33, 33, 34]
    assert sorted(len(shard) for shard in seven) == [14, 14, 14, 14, 14, 15, 15]
    assert flat(one) == flat(three) == flat(seven)
    seeds = [tf.train.Example.FromString(r).features.feature["seed"] for r in flat(one)]
    assert [s.int64_list.value[0] for s in seeds] == list(range(9, 109))
    # nor on which sample is the first, for blocks begin at fixed seeds
    kgl.serving.write_samples(sampler, tmp_path / "later", 50, seed=49, batch_size=16)
    assert flat(records(tmp_path / "later")) == flat(one)[40:90]


def test_images(images, tmp_path):
    """The PNG files that a server gives, with the names that data sets of images have."""
    tuner, folder = images
    kgl.serving.write_samples(folder, tmp_path / "r", 40, shards=3, batch_size=8)
    spec = {
        "image/encoded": tf.io.FixedLenFeature([], "string"),
        "image/format": tf.io.FixedLenFeature([], "string"),
        "image/height": tf.io.FixedLenFeature([], "int64"),
        "image/width": tf.io.FixedLenFeature([], "int64"),
        "seed": tf.io.FixedLenFeature([], "int64"),
    }
    files = sorted(map(str, tmp_path.glob("r/*.tfrecord")))
    rows = [tf.io.parse_single_example(r, spec) for r in tf.data.TFRecordDataset(files)]
    with kgl.serving.connect(folder, batch_size=8) as client:
        served = client.image(range(40))
    assert [row["image/encoded"].numpy() for row in rows] == served
    assert {(int(r["image/height"]), int(r["image/width"])) for r in rows} == {(16, 16)}
    assert {r["image/format"].numpy() for r in rows} == {b"png"}
    # what the model itself gives for these seeds, rounded to a level
    pixels = np.stack([tf.io.decode_png(png) for png in served])
    x = tuner(tuner.latent.sample_rows(range(40))).numpy()
    np.testing.assert_allclose(pixels, 255 * (x / 2 + 0.5), atol=0.51)

    kgl.serving.write_samples(
        tuner, tmp_path / "p", 40, seed=-4, shards=3, format="png", batch_size=8
    )
    files = tree(tmp_path / "p")
    assert [n for n in files if n.endswith(".png")][0].endswith("of-00003/-000000001.png")
    for seed, png in enumerate(served[:36]):
        [name] = [n for n in files if n.endswith(f"/{seed:010d}.png")]
        assert files[name] == png
    assert sum(n.endswith("_SUCCESS") for n in files) == 3
    assert len(files) == 1 + 40 + 3


@pytest.mark.parametrize("layers", [None, 0, 5])
def test_points(toy, tmp_path, layers):
    """Values are what the model gives; from the tuner and from its export, the same files."""
    tuner, folder = toy
    for name, model in (("tuner", tuner), ("export", folder / "1")):
        kgl.serving.write_samples(model, tmp_path / name, 70, layers=layers)
    assert tree(tmp_path / "tuner") == tree(tmp_path / "export")
    spec = {
        "sample": tf.io.FixedLenFeature([2], "float32"),
        "sample/shape": tf.io.FixedLenFeature([1], "int64"),
        "seed": tf.io.FixedLenFeature([], "int64"),
    }
    rows = [tf.io.parse_single_example(r, spec) for r in flat(records(tmp_path / "tuner"))]
    expected = tuner(tuner.latent.sample_rows(range(70)), layers=layers)
    np.testing.assert_allclose([r["sample"] for r in rows], expected, atol=1e-5)
    assert {int(r["sample/shape"][0]) for r in rows} == {2}


def test_small_and_large_counts(toy, tmp_path):
    sampler = kgl.serving.SeededSampler(toy[1])
    kgl.serving.write_samples(sampler, tmp_path / "one", 1)
    kgl.serving.write_samples(sampler, tmp_path / "five", 5, shards=5)
    assert [len(r) for r in records(tmp_path / "five")] == [1] * 5
    assert records(tmp_path / "five")[0] == records(tmp_path / "one")[0]
    assert kgl.serving.plan_samples(sampler, tmp_path / "ten", 10_000) == 1
    assert kgl.serving.plan_samples(sampler, tmp_path / "more", 10_001) == 2
    assert kgl.serving.plan_samples(sampler, tmp_path / "million", 1_000_000) == 100
    assert [p.name for p in (tmp_path / "million").iterdir()] == ["manifest.json"]


def test_progress(toy, tmp_path):
    """Every sample is counted once, those that were there as well."""
    sampler = kgl.serving.SeededSampler(toy[1])
    assert kgl.serving.plan_samples(sampler, tmp_path / "out", 100, shards=2, batch_size=8) == 2
    for _ in range(2):
        seen = []
        assert kgl.serving.write_shard(sampler, tmp_path / "out", 1, seen.append) == 50
        assert sum(seen) == 50


def test_an_interrupt_leaves_nothing_half_written(toy, tmp_path):
    def interrupt(n):
        raise KeyboardInterrupt

    sampler = kgl.serving.SeededSampler(toy[1])
    kgl.serving.plan_samples(sampler, tmp_path, 100)
    with pytest.raises(KeyboardInterrupt):
        kgl.serving.write_shard(sampler, tmp_path, 0, interrupt)
    assert list(tree(tmp_path)) == ["manifest.json"]


def test_what_a_killed_writer_leaves_is_not_taken_for_whole(images, tmp_path):
    sampler = kgl.serving.SeededSampler(images[1])
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    for format in kgl.serving.bulk.FORMATS:
        settings = {"shards": 4, "format": format, "batch_size": 8}
        kgl.serving.write_samples(sampler, whole, 40, **settings)
        shutil.copytree(whole, rest)
        second = rest / "samples-00001-of-00004"
        if format == "png":
            (second / "_SUCCESS").unlink()
            (second / "0000000012.png").unlink()
            (second / "0000000013.png").unlink()
            (second / "abc.0000000012.png.part").write_bytes(b"\x89PNG")
        else:
            second = second.with_suffix(".tfrecord")
            content = second.read_bytes()
            second.unlink()
            (rest / f"abc.{second.name}.part").write_bytes(content[:100])
        kept = {p: p.stat().st_mtime_ns for p in rest.rglob("samples-*") if p.is_file()}
        kept |= {p: p.stat().st_mtime_ns for p in rest.rglob("*.png")}
        kept = {p: t for p, t in kept.items() if p.suffix != ".part"}
        kgl.serving.write_samples(sampler, rest, 40, resume=True, **settings)
        assert tree(rest) == tree(whole)
        assert all(p.stat().st_mtime_ns == t for p, t in kept.items())
        shutil.rmtree(whole)
        shutil.rmtree(rest)


def test_killed_before_the_manifest_was_whole(toy, tmp_path):
    (tmp_path / "abc.manifest.json.part").write_text("{")
    with pytest.raises(ValueError, match="it has no manifest.json"):
        kgl.serving.write_samples(toy[1], tmp_path, 5, resume=True)
    kgl.serving.write_samples(toy[1], tmp_path, 5)
    assert sorted(tree(tmp_path)) == ["manifest.json", "samples-00000-of-00001.tfrecord"]


def test_two_writers_of_one_shard(toy, tmp_path, monkeypatch):
    """The file of the faster one stays, and the slower one leaves nothing."""
    sampler = kgl.serving.SeededSampler(toy[1])
    kgl.serving.plan_samples(sampler, tmp_path, 5)
    rename = tf.io.gfile.rename

    def slow(draft, path):
        monkeypatch.undo()
        assert kgl.serving.write_shard(sampler, tmp_path, 0) == 5
        (tmp_path / "samples-00000-of-00001.tfrecord").write_bytes(b"the faster one's")
        with open(draft, "wb"):  # which took the draft away as a killed writer's
            rename(draft, path)

    monkeypatch.setattr(tf.io.gfile, "rename", slow)
    assert kgl.serving.write_shard(sampler, tmp_path, 0) == 5
    assert tree(tmp_path)["samples-00000-of-00001.tfrecord"] == b"the faster one's"
    assert len(tree(tmp_path)) == 2


def sample(folder, out, settings, files=None):
    """Write samples, in a process that kills itself before a file gets its name."""
    rename, left = tf.io.gfile.rename, iter(range(files or 0))

    def counted(draft, path):
        if files is not None and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(draft, path)

    tf.io.gfile.rename = counted
    kgl.serving.write_samples(folder, out, 60, seed=3, shards=12, batch_size=2, **settings)


@pytest.mark.parametrize("format", ["tfrecord", "png"])
def test_killed_three_times(images, tmp_path, format):
    """Killed and resumed, it is byte for byte what it is in one go."""
    context = multiprocessing.get_context("forkserver")  # which imports TensorFlow once
    context.set_forkserver_preload(["keras_gradlayer.serving"])
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    kgl.serving.write_samples(
        images[1], straight, 60, seed=3, shards=12, batch_size=2, format=format
    )
    whole = "*.tfrecord" if format == "tfrecord" else "*/_SUCCESS"
    a_shard = 1 if format == "tfrecord" else 6  # files: 5 samples, and what says they are all
    for run, files in enumerate((1 + 2 * a_shard, 2, 3 * a_shard + 1)):  # at first the manifest
        settings = {"format": format, "resume": run > 0}
        victim = context.Process(target=sample, args=(images[1], killed, settings, files))
        victim.start()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL
        done = len(list(killed.glob(whole)))
        assert 0 < done < 12
        assert [p for p in killed.rglob("*") if p.suffix == ".part"]
    kgl.serving.write_samples(
        images[1], killed, 60, seed=3, shards=12, batch_size=2, format=format, resume=True
    )
    assert tree(killed) == tree(straight)


def test_memory_stands_in_for_an_object_store(images, toy, tmp_path):
    """Addresses go to TensorFlow's file systems as they are."""
    for folder, format in ((toy[1], "tfrecord"), (images[1], "png")):
        sampler = kgl.serving.SeededSampler(folder)
        out = f"ram://bucket/{format}/"
        kgl.serving.write_samples(sampler, out, 9, shards=2, format=format)
        with pytest.raises(ValueError, match="holds a sampling"):
            kgl.serving.write_samples(sampler, out, 9, shards=2, format=format)
        kgl.serving.write_samples(sampler, out, 9, shards=2, format=format, resume=True)
    toy[0].sampler().save(tmp_path / "s.keras")
    tf.io.gfile.copy(str(tmp_path / "s.keras"), "ram://bucket/s.keras")
    assert (
        kgl.serving.SeededSampler("ram://bucket/s.keras").facts
        == kgl.serving.SeededSampler(tmp_path / "s.keras").facts
    )
    names = tf.io.gfile.listdir("ram://bucket/tfrecord")
    assert sorted(names)[1:] == [f"samples-0000{k}-of-00002.tfrecord" for k in (0, 1)]
    names = sorted(tf.io.gfile.listdir("ram://bucket/png/samples-00001-of-00002"))
    assert names == [*(f"000000000{k}.png" for k in range(4, 9)), "_SUCCESS"]
    data = tf.data.TFRecordDataset(tf.io.gfile.glob("ram://bucket/tfrecord/*.tfrecord"))
    assert len(list(data)) == 9


def test_bad_arguments(toy, images, tmp_path):
    """One error, and nothing is written."""
    sampler = kgl.serving.SeededSampler(toy[1])
    out = tmp_path / "out"
    for settings, message in (
        ({"count": 0}, "`count` must be an integer of at least 1. Received: count=0"),
        ({"shards": 0}, "`shards` must be an integer of at least 1"),
        ({"shards": 6}, "`shards` must be at most `count`, 5. Received: shards=6"),
        ({"seed": 2**63 - 4}, r"`seed` must be an integer of 64 bits, as the last one, seed \+ 4"),
        ({"seed": -(2**63) - 1}, "`seed` must be an integer of 64 bits"),
        ({"seed": 0.5}, "`seed` must be an integer of 64 bits.* Received: seed=0.5"),
        ({"seed": 1.0}, "`seed` must be an integer of 64 bits.* Received: seed=1.0"),
        ({"batch_size": 0}, "`batch_size` must be an integer"),
        ({"format": "jpeg"}, "`format` must be 'tfrecord' or 'png'. Received: format='jpeg'"),
        ({"format": "png"}, r"for samples of shape \(2,\)"),
        ({"layers": 21}, "The model has 20 layers. Received: layers=21"),
        ({"resume": True}, "There is no sampling in .*out"),
    ):
        with pytest.raises(ValueError, match=message):
            kgl.serving.write_samples(sampler, out, **{"count": 5, **settings})
        assert not out.exists()
    with pytest.raises(ValueError, match="There is no sampling in"):
        kgl.serving.write_shard(sampler, out, 0)
    with pytest.raises(TypeError, match="Received: model=3"):
        kgl.serving.write_samples(3, out, 5)
    with pytest.raises(ValueError, match="There is no file none.keras"):
        kgl.serving.write_samples("none.keras", out, 5)
    with pytest.raises(
        OSError, match="Writing to nowhere://out failed: .*'nowhere' not implemented"
    ):
        kgl.serving.write_samples(sampler, "nowhere://out", 5)
    (tmp_path / "mine.part").write_text("mine")
    with pytest.raises(ValueError, match="is not an empty folder; nothing was written"):
        kgl.serving.write_samples(sampler, tmp_path, 5)
    assert tree(tmp_path) == {"mine.part": b"mine"}
    (tmp_path / "mine.part").rename(tmp_path / "mine")
    with pytest.raises(ValueError, match="mine exists and is not a folder"):
        kgl.serving.write_samples(sampler, tmp_path / "mine", 5)
    with pytest.raises(ValueError, match="is not an empty folder; nothing was written"):
        kgl.serving.write_samples(sampler, tmp_path, 5)
    assert tree(tmp_path) == {"mine": b"mine"}


def test_resuming_with_other_settings(toy, images, tmp_path):
    sampler = kgl.serving.SeededSampler(toy[1])
    settings = {"count": 9, "shards": 3, "seed": 1}
    kgl.serving.plan_samples(sampler, tmp_path, **settings)
    before = tree(tmp_path)
    for other, message in (
        ({"count": 10}, "began with count 9. Received: 10"),
        ({"shards": None}, "began with shards 3. Received: 1"),
        ({"seed": 0}, "began with seed 1. Received: 0"),
        ({"layers": 3}, "began with layers null. Received: 3"),
        ({"batch_size": 8}, "began with batch_size 64. Received: 8"),
        ({"model": images[1]}, "began with weights .* Received: "),
    ):
        with pytest.raises(ValueError, match=message):
            kgl.serving.write_samples(
                **{"model": sampler, "out": tmp_path, "resume": True, **settings, **other}
            )
    with pytest.raises(ValueError, match="began with weights"):
        kgl.serving.write_shard(images[1], tmp_path, 0)
    with pytest.raises(ValueError, match="`shard` must be 0 to 2. Received: shard=3"):
        kgl.serving.write_shard(sampler, tmp_path, 3)
    with pytest.raises(ValueError, match="`shard` must be an integer of at least 0"):
        kgl.serving.write_shard(sampler, tmp_path, 1.0)
    with pytest.raises(
        ValueError, match="`layers` must be an integer from 0 to 20. Received: layers=21"
    ):
        next(sampler.blocks(0, 3, layers=21))
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1"):
        next(sampler.blocks(0, 3, batch_size=0))
    manifest = json.loads(before["manifest.json"])
    manifest["versions"]["tensorflow"] = "2.0.0"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match='"tensorflow": "2.0.0".* Received: '):
        kgl.serving.write_samples(sampler, tmp_path, resume=True, **settings)
    (tmp_path / "manifest.json").write_bytes(before["manifest.json"])
    assert tree(tmp_path) == before
    kgl.serving.write_samples(sampler, tmp_path, resume=True, **settings)
    kgl.serving.write_samples(sampler, tmp_path, resume=True, **settings)  # which is nothing to do
    assert len(flat(records(tmp_path))) == 9


def test_seeds_of_64_bits(toy, tmp_path):
    """Seeds do not repeat, and blocks may reach beyond the least and the greatest."""
    tuner, folder = toy
    sampler = kgl.serving.SeededSampler(folder)
    for seed in (-(2**63), 2**31 - 4, 2**53, 2**63 - 5):
        kgl.serving.write_samples(sampler, tmp_path / str(seed), 5, seed=seed, batch_size=3)
        [rows] = records(tmp_path / str(seed))
        features = [tf.train.Example.FromString(r).features.feature for r in rows]
        seeds = [f["seed"].int64_list.value[0] for f in features]
        assert seeds == list(range(seed, seed + 5))
        samples = [f["sample"].float_list.value for f in features]
        np.testing.assert_allclose(samples, tuner(tuner.latent.sample_rows(seeds)), atol=1e-5)
        assert len(np.unique(samples, axis=0)) == 5


def test_opening_a_model_changes_nothing_for_the_process(toy, monkeypatch):
    """Op determinism, which a GPU needs for the same bytes, is for the caller to switch on."""
    called = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [kind])
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: called.append(1))
    sampler = kgl.serving.SeededSampler(toy[1])
    next(sampler.blocks(0, 3))
    assert not called


@pytest.mark.beam
def test_beam(capsys, monkeypatch, images, tmp_path):
    """Apache Beam's direct runner writes the files that `write_samples` writes."""
    pytest.importorskip("apache_beam", reason='needs the extra "beam"')
    settings = ["--count", "50", "--shards", "4", "--seed", "7", "--layers", "2"]
    kgl.serving.write_samples(images[1], tmp_path / "one", 50, seed=7, shards=4, layers=2)
    pipeline = ["--model", images[1], *settings, "--out", tmp_path / "beam"]

    def beam(*options):
        arguments = ["beam_sample", *pipeline, *options, "--", "--runner=DirectRunner"]
        monkeypatch.setattr(sys, "argv", [str(a) for a in arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(ROOT / "export" / "beam_sample.py"), run_name="__main__")
        return stop.value.code, capsys.readouterr().err

    assert beam()[0] == 0
    assert tree(tmp_path / "beam") == tree(tmp_path / "one")
    code, err = beam()
    assert code == 2
    assert "holds a sampling" in err
    (tmp_path / "beam" / "samples-00002-of-00004.tfrecord").unlink()
    assert beam("--resume")[0] == 0
    assert tree(tmp_path / "beam") == tree(tmp_path / "one")
