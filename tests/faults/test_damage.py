"""What a resumed run does about damaged files: each is named, and nothing is lost."""

import hashlib
import json
import shutil

import click
import keras
import numpy as np
import pytest

from keras_gradlayer.commands.backups import Backups, _checksum
from keras_gradlayer.commands.lock import LOCK
from keras_gradlayer.commands.runs import open_run

OPTIONS = {"layers": 6, "step_size": "auto", "seed": 0}


def model(value=0.0):
    found = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    found.set_weights([np.full((2, 1), value), np.full(1, value)])
    return found


def opened(folder, resume=True, **options):
    """The run of a command, as far as its backups."""
    context = click.Context(click.Command("finetune"))
    files = {"data": str(folder / "data.npy"), "critic": str(folder / "critic.keras")}
    context.params = OPTIONS | files | options | {"out": folder / "out", "resume": resume}
    with context:
        run = open_run(folder / "out", resume, "tuner.keras")
        found = model(-1)
        position = run.backups.restore(found, epochs=6, steps=10)
    return position, float(found.get_weights()[1][0])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of six epochs that was interrupted after the third; another of the same options."""
    path = tmp_path_factory.mktemp("made") / "run"
    path.mkdir()
    (path / "critic.keras").write_text("a critic")
    (path / "data.npy").write_text("data")
    out = path / "out"
    for name in ("other", "out"):
        assert opened(path, resume=False)[0] == (0, 0)
        files = [out / "log.csv", out / "scores.json"]
        backups = Backups(out / "backup", json.loads((out / "run.json").read_text())["run"], files)
        for epoch in (1, 2, 3):
            (out / "log.csv").write_text("row\n" * epoch)
            (out / "scores.json").write_text(f"[{epoch}]")
            backups.save(model(epoch), epoch)
        (out / "log.csv").write_text("row\nrow\nrow\nrow, of an epoch that was interru")
        if name == "other":
            out.rename(path / "other")
    shutil.copytree(path, path.with_name("copy"))
    return path


@pytest.fixture
def run(made):
    """The same, fresh, in the same place."""
    shutil.rmtree(made)
    shutil.copytree(made.with_name("copy"), made)
    return made


LAST, BEFORE = "epoch-00003-update-000000", "epoch-00002-update-000000"
MODEL, MANIFEST = "model.keras", "manifest.json"
UNREADABLE, CHANGED = (
    "has no manifest.json that can be read",
    "has a manifest.json that was changed",
)
DAMAGED = "has a model.keras that is damaged"


def write(name, content):
    def damage(out):
        path = out / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def cut(name):
    return lambda out: (out / name).write_bytes((out / name).read_bytes()[:-20])


def flip(name):
    def damage(out):
        content = bytearray((out / name).read_bytes())
        content[len(content) // 2] ^= 1
        (out / name).write_bytes(content)

    return damage


def remove(name):
    def damage(out):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def manifest(valid=False, drop=(), **changes):
    """Other entries in the last manifest, with the right checksum or not, and in the name."""

    def damage(out):
        path = out / "backup" / LAST / MANIFEST
        entries = {k: v for k, v in (json.loads(path.read_text()) | changes).items()}
        entries = {k: v for k, v in entries.items() if k not in drop}
        if valid:
            entries.pop("checksum")
            entries["checksum"] = _checksum(entries)
        path.write_text(json.dumps(entries))
        if valid and "epoch" in changes:
            path.parent.rename(path.parent.with_name(f"epoch-{changes['epoch']:05d}-update-000000"))

    return damage


def copy(source, target):
    def damage(out):
        here, there = out.parent / source, out / target
        if there.is_dir():
            shutil.rmtree(there)
        shutil.copytree(here, there) if here.is_dir() else shutil.copyfile(here, there)

    return damage


def both(*damages):
    return lambda out: [damage(out) for damage in damages]


def folder(name):
    return lambda out: ((out / name).unlink(), (out / name).mkdir())


B, P = f"backup/{LAST}", f"backup/{BEFORE}"
# What happens to the files, the epoch that the run goes on from, and what it says.
RECOVERED = {
    "weights cut": (cut(f"{B}/{MODEL}"), 2, DAMAGED),
    "weights empty": (write(f"{B}/{MODEL}", ""), 2, DAMAGED),
    "weights with a bit flipped": (flip(f"{B}/{MODEL}"), 2, DAMAGED),
    "weights gone": (remove(f"{B}/{MODEL}"), 2, f"lacks {MODEL}"),
    "weights a folder": (folder(f"{B}/{MODEL}"), 2, f"lacks {MODEL}"),
    "weights of the epoch before": (copy(f"out/{P}/{MODEL}", f"{B}/{MODEL}"), 2, DAMAGED),
    "weights of another run": (copy(f"other/{P}/{MODEL}", f"{B}/{MODEL}"), 2, DAMAGED),
    "manifest gone": (remove(f"{B}/{MANIFEST}"), 2, UNREADABLE),
    "manifest cut": (cut(f"{B}/{MANIFEST}"), 2, UNREADABLE),
    "manifest empty": (write(f"{B}/{MANIFEST}", ""), 2, UNREADABLE),
    "manifest a list": (write(f"{B}/{MANIFEST}", "[]"), 2, UNREADABLE),
    "manifest null": (write(f"{B}/{MANIFEST}", "null"), 2, UNREADABLE),
    "manifest no text": (write(f"{B}/{MANIFEST}", b"\xff\xfe\x00"), 2, UNREADABLE),
    "manifest without epoch": (manifest(drop=["epoch"]), 2, UNREADABLE),
    "manifest without checksum": (manifest(drop=["checksum"]), 2, UNREADABLE),
    "epoch 999": (manifest(epoch=999), 2, CHANGED),
    "epoch -5": (manifest(epoch=-5), 2, CHANGED),
    "epoch of text": (manifest(epoch="3"), 2, CHANGED),
    "epoch one behind": (manifest(epoch=2), 2, CHANGED),
    "hashes a list": (manifest(valid=True, sha256=[]), 2, DAMAGED),
    "epoch 999, sealed": (manifest(valid=True, epoch=999), 2, "is of epoch 999, and the run has 6"),
    "epoch by another name": (
        lambda out: (out / B).rename(out / "backup/epoch-00005-update-000000"),
        2,
        CHANGED,
    ),
    "backup of another run": (copy(f"other/{B}", B), 2, "is of another run"),
    "backup empty": (both(remove(B), lambda out: (out / B).mkdir()), 2, UNREADABLE),
    "backup a file": (both(remove(B), write(B, "x")), 2, UNREADABLE),
    "log of the backup cut": (cut(f"{B}/log.csv"), 2, "has a log.csv that is damaged"),
    "scores of the backup gone": (remove(f"{B}/scores.json"), 2, "lacks scores.json"),
    "last backup gone": (remove(B), 2, None),
    "both backups damaged": (
        both(cut(f"{B}/{MODEL}"), cut(f"{P}/{MANIFEST}")),
        0,
        "Going on from the beginning",
    ),
    "all backups gone": (remove("backup"), 0, None),
    "backups empty": (both(remove("backup"), lambda out: (out / "backup").mkdir()), 0, None),
    "a file that is none of the run's": (write("backup/notes", "x"), 3, "notes is none of this"),
    "backup of older versions": (
        both(remove(B), remove(P), write("backup/latest.weights.h5", "x")),
        0,
        "latest.weights.h5 is none of this run's",
    ),
    "a draft": (copy(f"out/{B}", "backup/.draft"), 3, None),
    "log damaged": (write("log.csv", b"\xff"), 3, None),
    "log gone": (remove("log.csv"), 3, None),
    "scores damaged": (write("scores.json", '{"sco'), 3, None),
    "scores gone": (remove("scores.json"), 3, None),
    "a lock of a process that died": (write(LOCK, "process 1 on here\n"), 3, None),
    "settings none": (write("run.json", "{}"), 3, None),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_recovered(run, capsys, name):
    damage, epoch, said = RECOVERED[name]
    out = run / "out"
    damage(out)
    position, weights = opened(run)
    assert (position, weights) == ((epoch, 0), epoch or -1)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == (said is not None)
    assert said is None or (said in printed[0] and str(out / "backup") in printed[0])
    log, scores = out / "log.csv", out / "scores.json"
    assert (log.read_text() if epoch else log.exists()) == ("row\n" * epoch if epoch else False)
    assert (scores.read_text() if epoch else scores.exists()) == (f"[{epoch}]" if epoch else False)
    aside = {path.name for path in (out / "backup").glob("damaged-*")}
    assert len(aside) == (0 if said is None or "none of this" in said else 1 + (epoch == 0))


REFUSED = {
    "settings a list": (write("run.json", "[]"), {}, "run.json is damaged or missing. Expected"),
    "settings empty": (write("run.json", ""), {}, "run.json is damaged or missing"),
    "settings cut": (cut("run.json"), {}, "run.json is damaged or missing"),
    "settings no text": (write("run.json", b"\xff"), {}, "run.json is damaged or missing"),
    "settings gone": (remove("run.json"), {}, "run.json is damaged or missing"),
    "backups a file": (
        both(remove("backup"), write("backup", "x")),
        {},
        "must be a folder. Received: a file",
    ),
    "another step": (lambda out: None, {"step_size": "0.7"}, "--step-size auto. Received: 0.7"),
    "another critic": (
        lambda out: (out.parent / "critic.keras").write_text("another"),
        {},
        f"--critic of SHA-256 {hashlib.sha256(b'a critic').hexdigest()}. "
        f"Received: {hashlib.sha256(b'another').hexdigest()}",
    ),
    "other data": (
        lambda out: (out.parent / "data.npy").write_text("other"),
        {},
        "remove data_sha256 from",
    ),
    "finished": (write("tuner.keras", "x"), {}, "there is no unfinished run"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(run, name):
    damage, options, said = REFUSED[name]
    damage(run / "out")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != LOCK}
    with pytest.raises(click.UsageError) as error:
        opened(run, **options)
    assert said in str(error.value)
    after = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != LOCK}
    assert after == before


def test_what_changed_is_accepted(run):
    """A line that is taken out of run.json, as the error says."""
    record = run / "out" / "run.json"
    settings = json.loads(record.read_text())
    del settings["step_size"]
    record.write_text(json.dumps(settings))
    assert opened(run, step_size="0.7")[0] == (3, 0)
    assert json.loads(record.read_text()) == settings | {"step_size": "0.7"}
    with pytest.raises(click.UsageError, match="--step-size 0.7. Received: auto"):
        opened(run)


def test_a_run_in_the_way_of_itself(tmp_path):
    """What an interrupted beginning leaves does not stop the next."""
    (tmp_path / "critic.keras").write_text("a critic")
    (tmp_path / "data.npy").write_text("data")
    out = tmp_path / "out"
    out.mkdir()
    (out / LOCK).write_text("process 1 on here\n")
    (out / ".run.json.part").write_text('{"la')
    assert opened(tmp_path, resume=False)[0] == (0, 0)
    shutil.rmtree(out)
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(click.UsageError, match="not an empty folder; nothing was written"):
        opened(tmp_path, resume=False)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
