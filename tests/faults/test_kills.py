"""A run that is killed at any moment goes on, and ends bit for bit as one that is not.

The slow tests print how many kills of each kind there were: `pytest -s -m slow tests/faults`.
"""

import collections
import random
import signal
import time

import numpy as np
import pytest

import keras_gradlayer as kgl
from tests.faults.conftest import assert_same, ending
from tests.faults.process import POINTS, Command

STOPPED = {"term": (signal.SIGTERM, 143), "int": (signal.SIGINT, 130)}


def chain(name, command, out, kills, rng, straight):
    """Kill a run, resume it and kill it again, and let it end; the kinds of the kills."""
    expected, duration = straight(name)
    done, output = [], out.parent / f"{out.name}.txt"
    for kind in [*kills, None]:
        begun = (out / "run.json").exists()
        args = [*command, "--out", out, *(["--resume"] if begun else [])]
        at = None
        if kind == "point":
            at = rng.choice(sorted(POINTS)), rng.randint(1, 6), rng.random() < 0.5
        process = Command(args, output, at=at)
        if kind in ("moment", *STOPPED):
            signum, status = STOPPED.get(kind, (signal.SIGKILL, -9))
            found = process.kill(rng.uniform(0.1, 0.9) * duration, signum)
            # before the run began a signal ends it as any program
            assert found in (0, status, -signum), (kind, output.read_text())
            if found == status and kind != "moment" and (out / "run.json").exists():
                assert "--resume" in process.lines[-1]
        else:
            found = process.wait()
            assert found in (0, -9 if kind else 0), (kind, at, output.read_text())
        if found:
            done.append(f"point {at[0]}" if at else kind)
        if any((out / name).exists() for name in ("tuner.keras", "gan.keras")):
            break  # or killed when it had its result
    assert_same(ending(out), expected)
    return done


@pytest.mark.parametrize(
    ("name", "kills"), [("points", ["moment", "term"]), ("train", ["point", "moment"])]
)
def test_a_killed_run(commands, straight, tmp_path, name, kills):
    seed = 17
    print(f"seed {seed}")
    chain(name, commands[name], tmp_path / "out", kills, random.Random(seed), straight)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["points", "folder", "table", "train", "mnist"])
def test_many_kills(commands, straight, tmp_path, request, name):
    if name == "mnist":
        request.getfixturevalue("real_data")
    seed = random.SystemRandom().randrange(2**32)
    print(f"{name}: seed {seed}")
    rng, counts, runs = random.Random(seed), collections.Counter(), 0
    while counts.total() < 8:
        kills = rng.choices(["moment", "point", "term", "int"], [4, 3, 1, 1], k=3)
        runs += 1
        counts.update(chain(name, commands[name], tmp_path / f"{runs}", kills, rng, straight))
    print(f"{name}: {counts.total()} kills of {runs} runs, all ends alike: {dict(counts)}")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tfrecord", "png"])
def test_many_kills_of_shards(sampler, tmp_path, format):
    """The same files, byte for byte."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"{format}: seed {seed}")
    rng = random.Random(seed)
    args = ["sample", "--model", sampler, "--count", 3000, "--shards", 6, "--format", format]

    def files(out):
        return {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}

    start = time.monotonic()
    assert Command([*args, "--out", tmp_path / "straight"], tmp_path / "output").wait() == 0
    duration, killed, runs = time.monotonic() - start, 0, 0
    expected = files(tmp_path / "straight")
    while killed < 6:
        out, status, runs, kills = tmp_path / str(runs), -9, runs + 1, 3
        while status:
            resume = ["--resume"] if (out / "manifest.json").exists() else []
            process = Command([*args, "--out", out, *resume], tmp_path / "output")
            status = process.kill(rng.uniform(0.3, 0.9) * duration if kills else 300)
            assert status in (0, -9), process.output.read_text()
            killed, kills = killed + (status == -9), kills - 1
        assert files(out) == expected
    print(f"{format}: {killed} kills of {runs} runs, all files alike")


@pytest.mark.slow
def test_many_kills_of_an_export(sampler, tmp_path):
    """Each version that is there is whole."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"export: seed {seed}")
    rng, out = random.Random(seed), tmp_path / "out"
    args = ["export", "--model", sampler, "--out", out]
    start = time.monotonic()
    assert Command(args, tmp_path / "output").wait() == 0
    duration, killed = time.monotonic() - start, 0
    while killed < 6:
        process = Command(args, tmp_path / "output")
        status = process.kill(rng.uniform(0.3, 0.95) * duration)
        assert status in (0, -9), process.output.read_text()
        killed += status == -9
    assert Command(args, tmp_path / "output").wait() == 0
    versions = sorted(p for p in out.iterdir() if p.name.isdecimal())
    [(_, expected)] = kgl.serving.SeededSampler(versions[0]).blocks(0, 9)
    for version in versions[1:]:
        [(_, found)] = kgl.serving.SeededSampler(version).blocks(0, 9)
        np.testing.assert_array_equal(found, expected)
    print(f"export: {killed} kills, {len(versions)} whole versions")
