"""Command lines that cannot be right end in one line at status 2, with nothing written."""

import io
import os
import re
import zipfile

import numpy as np
import pytest

import keras_gradlayer as kgl
from tests.commands.commandline import run
from tests.faults import bad_input as bad


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small GAN's files, and what else the command lines name."""
    folder = tmp_path_factory.mktemp("models")
    generator, critic = bad.conv_gan()
    generator.save(folder / "g.keras")
    critic.save(folder / "c.keras")
    bad.judge().save(folder / "judge.keras")
    bad.critic().save(folder / "points.keras")
    bad.sampler().save(folder / "s.keras")
    bad.spoilt(bad.generator).save(folder / "nan_g.keras")
    bad.spoilt(bad.critic).save(folder / "nan_c.keras")
    kgl.serving.export_sampler(bad.sampler(), folder / "export")
    np.save(folder / "nan.npy", np.full((20, 2), np.nan, "float32"))
    np.save(folder / "text.npy", np.array(["a"] * 20))
    np.save(folder / "ints.npy", np.ones((20, 2), int))
    np.save(folder / "big.npy", np.full((20, 2), 1e300))
    np.save(folder / "shape.npy", np.zeros((20, 3), "float32"))
    np.save(folder / "scalar.npy", np.float32(1))
    (folder / "garbage.npy").write_bytes(b"x")
    for name in ("pipe.npy", "pipe.keras"):
        os.mkfifo(folder / name)
    claim_much(folder)
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine")
    return folder


def claim_much(folder):
    """Files of a few bytes that say they hold 2**60 numbers, and one that is damaged inside."""
    header = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": (2**30, 2**30)}
    np.lib.format.write_array_header_1_0(header, description)
    start = header.getvalue()
    (folder / "vast.npy").write_bytes(start + bytes(64))
    with zipfile.ZipFile(folder / "vast.npz", "w") as file:
        file.writestr("x.npy", start + bytes(64))
    with zipfile.ZipFile(folder / "cut.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", start + np.random.default_rng(0).bytes(1000))
    content = bytearray((folder / "cut.npz").read_bytes())
    content[300:600] = bytes(300)
    (folder / "cut.npz").write_bytes(content)


FINETUNE = "finetune --critic points.keras --data eight_gaussians --out out "
IMAGES = "finetune --critic c.keras --generator g.keras --out out "
TRAIN = "train --data mnist --out out "
SAMPLE = "sample --model s.keras --out out "
EXPORT = "export --model s.keras --out out "
SCORE = "score g.keras --classifier judge.keras --real mnist:test[:20] "
LINES = {
    # finetune
    FINETUNE + "--layers 0": "--layers",
    FINETUNE + "--layers 1.5": "--layers",
    FINETUNE + "--layers 1000000000000": "max_layers.*memory",
    FINETUNE + "--step-size -1": "step_size|--step-size",
    FINETUNE + "--step-size nan": "step_size|--step-size",
    FINETUNE + "--step-size 1e300": "step_size|--step-size",
    FINETUNE + "--step-size fast": "--step-size",
    FINETUNE + "--steps-per-layer 0": "steps.per.layer",
    FINETUNE + "--steps-per-layer 1000000": "steps.per.layer",
    FINETUNE + "--particles 0": "particles",
    FINETUNE + "--particles -5": "--particles",
    FINETUNE + "--particles 10000000000000": "particles.*memory",
    FINETUNE + "--particles ²": "--particles",
    FINETUNE + "--insert nowhere": "nowhere|insert",
    FINETUNE + "--objective x": "objective",
    FINETUNE + "--critic-steps 0": "--critic-steps",
    FINETUNE + "--learning-rate 0": "--learning-rate",
    FINETUNE + "--learning-rate nan": "--learning-rate",
    FINETUNE + "--learning-rate inf": "--learning-rate",
    FINETUNE + "--batch-size 0": "--batch-size",
    FINETUNE + "--batch-size 501": "batch.size",
    FINETUNE + "--penalty -1": "penalty|weight",
    FINETUNE + "--penalty nan": "penalty|weight",
    FINETUNE + "--seed -1": "--seed",
    FINETUNE + "--seed 4294967296": "--seed",
    FINETUNE + "--seed x": "--seed",
    FINETUNE + "--resume": "no unfinished run",
    FINETUNE + "--line-search": "--classifier",
    FINETUNE + "--real photos": "--classifier",
    FINETUNE + "--labels labels.npy": "--labels",
    FINETUNE + "--critic-output 3": "--critic-output",
    FINETUNE + "--generator missing.keras": "missing.keras",
    FINETUNE + "--generator points.keras": "`critic`|sample",
    FINETUNE + "--generator nan_g.keras": "finite weights",
    FINETUNE + "--nope": "--nope",
    "finetune --critic nan_c.keras --data eight_gaussians --out out": "finite weights",
    "finetune --critic missing.keras --data eight_gaussians --out out": "missing.keras",
    "finetune --critic g.keras --data eight_gaussians --out out": "one score a sample",
    "finetune --critic points.keras --data nope --out out": "--data must be",
    "finetune --critic points.keras --data mnist --out out": "not images",
    "finetune --critic points.keras --data eight_gaussians --out full": "full",
    "finetune --critic points.keras --data eight_gaussians --out gs://bucket": "gs:",
    "finetune --critic points.keras --data nan.npy --out out": "must be finite",
    "finetune --critic points.keras --data big.npy --out out": "must be finite",
    "finetune --critic points.keras --data text.npy --out out": "text.npy must hold floats",
    "finetune --critic points.keras --data ints.npy --out out": "ints.npy must hold floats",
    "finetune --critic points.keras --data shape.npy --out out": "shape",
    "finetune --critic points.keras --data scalar.npy --out out": "shape",
    "finetune --critic points.keras --data garbage.npy --out out": "garbage.npy cannot be read",
    "finetune --critic points.keras --data pipe.npy --out out": "pipe.npy, which is none",
    "finetune --critic points.keras --data vast.npy --out out": "vast.npy cannot be read",
    "finetune --critic points.keras --data vast.npz --out out": "vast.npz cannot be read",
    "finetune --critic points.keras --data cut.npz --out out": "cut.npz cannot be read",
    "finetune --critic pipe.keras --data eight_gaussians --out out": "no file .*pipe.keras",
    "finetune --critic points.keras --data missing.npy --out out": "missing.npy",
    "finetune --critic points.keras": "--data",
    IMAGES + "--data empty": "empty",
    IMAGES + "--data mnist": "shape",
    # train
    TRAIN + "--width 0": "--width",
    TRAIN + "--latent-dim 0": "--latent-dim",
    TRAIN + "--iterations 0": "--iterations",
    TRAIN + "--image-size 8": "--image-size",
    TRAIN + "--method x": "--method",
    TRAIN + "--method wgan --penalty 5": "--penalty",
    TRAIN + "--penalty -1": "penalty|weight",
    TRAIN + "--penalty nan": "penalty|weight",
    TRAIN + "--learning-rate nan": "--learning-rate",
    TRAIN + "--batch-size 100000": "batch.size",
    "train --data nope --out out": "--data",
    "train --data empty --image-size 7 --out out": "image_shape",
    "train --data empty --out out": "empty",
    # sample
    SAMPLE + "--count 0": "--count",
    SAMPLE + "--count x": "--count",
    SAMPLE + "--layers 4": "--layers",
    SAMPLE + "--layers -1": "--layers",
    SAMPLE + "--label 3": "condition",
    SAMPLE + "--format gif": "--format",
    SAMPLE + "--shards 2": "--shards",
    SAMPLE + "--format tfrecord --shards 100": "shards",
    SAMPLE + "--format tfrecord --layers 4": "layers",
    SAMPLE + "--format png": "png",
    SAMPLE + "--batch-size 0": "--batch-size",
    SAMPLE + "--seed 9223372036854775808": "--seed",
    SAMPLE + "--saved-model export": "--saved-model",
    "sample --out out": "--model",
    "sample --model s.keras": "--out",
    "sample --model s.keras --out full": "full",
    "sample --model export --out out": "export",
    "sample --model nan_g.keras --out out": "finite weights",
    "sample --model missing.keras --out out": "missing.keras",
    "sample --model c.keras --out out": "critic",
    "sample --saved-model empty --out out": "empty",
    "sample --saved-model missing --out out": "missing",
    # export
    EXPORT + "--version 0": "--version",
    EXPORT + "--data-range 1 -1": "data_range|--data-range",
    EXPORT + "--data-range nan 1": "data_range|--data-range",
    EXPORT + "--data-range a b": "--data-range",
    EXPORT + "--allowed-batch-size 0": "allowed.batch.size",
    EXPORT + "--allowed-batch-size 8 --allowed-batch-size 4": "allowed.batch.size",
    EXPORT + "--score x": "--score",
    EXPORT + "--score a=nan": "scores",
    EXPORT + "--score a=b=c": "--score",
    "export --model nan_g.keras --out out": "finite",
    "export --model s.keras --out full": "full",
    "export --model c.keras --out out": "critic",
    "export --model s.keras --out gs://bucket/m": "gs:",
    # score
    SCORE + "--count 1": "--count",
    SCORE + "--layers 3": "layers",
    SCORE + "--image-size 0": "--image-size",
    SCORE + "--out missing/scores.json": "missing",
    "score --classifier judge.keras --real mnist": "SOURCES",
    "score s.keras --classifier missing.keras --real mnist": "missing.keras",
    "score s.keras --classifier g.keras --real mnist": "classifier",
    "score g.keras --classifier judge.keras --real nope": "--real",
    "score nope --classifier judge.keras --real mnist": "nope",
    "score g.keras --classifier judge.keras --real mnist:nope": "split",
    "score g.keras --classifier judge.keras --real empty --image-size 8": "empty",
    "score g.keras --classifier judge.keras --real mnist --seed x": "--seed",
    # the others
    "convert missing.h5 --out new.keras": "missing.h5",
    "convert s.keras --out new.keras": "already",
    "convert s.keras --out new.h5": "new.h5",
    "convert garbage.npy --out new.keras": "garbage.npy",
    "convert s.keras --out missing/new.keras": "missing",
    "demo --data nope --out out": "--data",
    "demo --layers 0 --out out": "--layers",
    "demo --particles x --out out": "--particles",
    "demo --experiment nope --out out": "--experiment",
    "demo --seed -1 --out out": "--seed",
    "nope": "nope",
    "--nope": "--nope",
}


@pytest.mark.parametrize("line", LINES)
def test_command_lines(line, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    before = contents(folder)
    status, _, err = run(capsys, *line.split())
    assert status == 2, err
    lines = [x for x in err.splitlines() if x.startswith("keras-gradlayer: ")]
    assert len([x for x in lines if "warning" not in x]) == 1, err
    assert re.search(LINES[line], lines[-1]), lines
    assert not bad.INTERNAL.search(lines[-1]), lines
    assert "Traceback" not in err
    assert contents(folder) == before


def test_a_file_that_unpacks_to_more_than_memory(folder, tmp_path, capsys, monkeypatch):
    """It is not unpacked: 64 MB of zeros are 64 kB, on a computer of 16 MB."""
    np.savez_compressed(tmp_path / "zeros.npz", x=np.zeros((2**23, 2), "float32"))
    monkeypatch.setattr(os, "sysconf", lambda name: 2**12)
    data = ["--data", tmp_path / "zeros.npz", "--out", tmp_path / "out"]
    status, _, err = run(capsys, "finetune", "--critic", folder / "points.keras", *data)
    assert status == 2
    assert "zeros.npz cannot be read: `x` must fit in memory" in err
    assert not (tmp_path / "out").exists()


def contents(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} | {
        p: None for p in folder.rglob("*") if p.is_dir()
    }
