"""A run that is killed at any moment goes on, and ends bit for bit as one that is not.

The slow tests print how many kills of each kind there were: `pytest -s -m slow tests/faults`.
"""

import collections
import random
import signal

import pytest

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
        if found == 0:
            break
        done.append(f"point {at[0]}" if at else kind)
    assert_same(ending(out), expected)
    assert not (out / "backup").exists()
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
