"""Any number of samples, in shards that any number of workers write."""

import contextlib
import json
import os
import posixpath
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_gradlayer import _checks
from keras_gradlayer.serving import shard_files
from keras_gradlayer.serving.seeded_sampler import SeededSampler

MANIFEST = "manifest.json"
FORMATS = ("tfrecord", "png")
_PER_SHARD = 10_000
_SEEDS = 2**63  # of either sign


def write_samples(
    model: keras.Model | str | os.PathLike | SeededSampler,
    out: str | os.PathLike,
    count: int,
    *,
    progress: bool = False,
    **settings,
) -> None:
    """Write many samples in shards; an interrupted run can be resumed.

    Sample i is what an exported sampler's signature `sample` gives for the seed `seed + i`. The
    files are the same whoever writes which shard, killed and resumed or not. `SeededSampler` says
    what their bytes depend on. `out` holds `manifest.json`, with all of that, and for each shard
    either:

    - `samples-00000-of-00100.tfrecord`, a `tf.train.Example` a sample: `image/encoded` (a PNG
      file), `image/format`, `image/height`, `image/width` and `seed`; or, for samples that are not
      images, `sample` (the values, flat), `sample/shape` and `seed`
    - `samples-00000-of-00100/`, a PNG file a sample, named after its seed, and `_SUCCESS` once it
      is complete; on an object store each file costs three requests, so prefer TFRecords there

    A file gets its name when it is complete, and is never overwritten.

    Args:
        model: as for `SeededSampler`, or one.
        out: folder to write to, new or empty: a local one or an address that `tf.io.gfile` knows,
            such as gs://bucket/samples.
        count: number of samples.
        progress: whether to show a progress bar.
        **settings: `seed` of the first sample, 0 by default, from which the others count up;
            `shards`, by default one for each 10,000 samples; `format`, "tfrecord", or for images
            "png"; `layers` to apply, by default all; `batch_size`, 64 samples computed together;
            `resume`, whether to write the shards that an interrupted run of these settings lacks.

    Raises:
        TypeError: if `model` is not a model.
        ValueError: if an argument is out of range, `out` is not empty, or it has no run of the same
            settings to resume. Nothing is written then.
        OSError: if the files cannot be written.

    Example:
        >>> write_samples(folder, tmp_path / "samples", count=100, shards=3)
        >>> sorted(p.name for p in (tmp_path / "samples").iterdir())[:2]
        ['manifest.json', 'samples-00000-of-00003.tfrecord']
    """
    from tqdm import tqdm

    sampler = _open(model)
    shards = plan_samples(sampler, out, count, **settings)
    with tqdm(total=count, unit="sample", disable=not progress) as bar:
        for shard in range(shards):
            write_shard(sampler, out, shard, bar.update)


def plan_samples(
    model: keras.Model | str | os.PathLike | SeededSampler,
    out: str | os.PathLike,
    count: int,
    *,
    seed: int = 0,
    shards: int | None = None,
    format: str = "tfrecord",
    layers: int | None = None,
    batch_size: int = 64,
    resume: bool = False,
) -> int:
    """Write the manifest of a run whose shards `write_shard` then writes, anywhere.

    Use it to spread `write_samples` with a batch engine: call it once, then `write_shard` for each
    shard, in any order and on any machine that reaches `out`. Arguments are as for `write_samples`.

    Returns:
        The number of shards.

    Raises:
        TypeError, ValueError, OSError: as `write_samples`.

    Example:
        >>> sampler = SeededSampler(folder)
        >>> shards = plan_samples(sampler, tmp_path / "spread", count=100, shards=3)
        >>> [write_shard(sampler, tmp_path / "spread", k) for k in reversed(range(shards))]
        [34, 33, 33]
    """
    out, sampler = _place(out), _open(model)
    count = _checks.positive_int("count", count)
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not -_SEEDS <= int(seed) <= _SEEDS - count:
        raise ValueError(
            f"`seed` must be an integer of 64 bits, as the last one, seed + {count - 1}. "
            f"Received: seed={seed!r}"
        )
    shards = -(-count // _PER_SHARD) if shards is None else _checks.positive_int("shards", shards)
    if shards > count:
        raise ValueError(f"`shards` must be at most `count`, {count}. Received: shards={shards}")
    if format not in FORMATS:
        raise ValueError(f"`format` must be 'tfrecord' or 'png'. Received: format={format!r}")
    if format == "png" and not sampler.draws_images:
        raise ValueError(
            "PNG files are for samples of shape (height, width, 1, 3 or 4). Received: "
            f"format='png' for samples of shape {tuple(sampler.facts['sample_shape'])}"
        )
    if layers is not None and _checks.positive_int("layers", layers, zero_ok=True) > sampler.depth:
        raise ValueError(f"The model has {sampler.depth} layers. Received: layers={layers}")
    _checks.boolean("resume", resume)
    manifest = {
        "count": count,
        "seed": int(seed),
        "shards": shards,
        "format": format,
        "layers": None if layers is None else int(layers),
        "batch_size": _checks.positive_int("batch_size", batch_size),
        **sampler.facts,
    }
    with _errors(out):
        if not resume:
            _begin(out, manifest)
        _check_same(out, _read(out), manifest)  # if two began at once, the faster one's stands
    return shards


def write_shard(
    model: keras.Model | str | os.PathLike | SeededSampler,
    out: str | os.PathLike,
    shard: int,
    advance: Callable[[int], object] | None = None,
) -> int:
    """Write one shard of the run in `out`, unless it is there; see `plan_samples`.

    Args:
        model: the run's model, best as a `SeededSampler` opened once a worker.
        out: the folder given to `plan_samples`.
        shard: its number, from 0.
        advance: called with the number of further samples, as they come.

    Returns:
        The number of samples in the shard.

    Raises:
        TypeError: if `model` is not a model.
        ValueError: if there is no such run or shard, or it is of another model.
        OSError: if the files cannot be written.

    Example:
        >>> plan_samples(folder, tmp_path / "one", count=5)
        1
        >>> write_shard(folder, tmp_path / "one", 0)
        5
    """
    out, sampler = _place(out), _open(model)
    advance = advance or (lambda n: None)
    with _errors(out):
        plan = _read(out)
        _check_same(out, plan, {**plan, **sampler.facts})
        shards = plan["shards"]
        if _checks.positive_int("shard", shard, zero_ok=True) >= shards:
            raise ValueError(f"`shard` must be 0 to {shards - 1}. Received: shard={shard}")
        start, stop = (k * plan["count"] // shards for k in (shard, shard + 1))
        path = posixpath.join(out, f"samples-{shard:05d}-of-{shards:05d}")
        draw = {"layers": plan["layers"], "batch_size": plan["batch_size"]}
        seeds = plan["seed"] + start, plan["seed"] + stop
        blocks = sampler.blocks(*seeds, encoded=sampler.draws_images, **draw)
        if shard_files.is_complete(path, plan["format"]):
            advance(stop - start)
        elif plan["format"] == "png":
            shard_files.write_pngs(path, blocks, advance)
        else:
            shard_files.write_records(path, blocks, plan["sample_shape"], advance)
    return stop - start


def _open(model):
    return model if isinstance(model, SeededSampler) else SeededSampler(model)


def _begin(out, manifest):
    if tf.io.gfile.exists(out) and not tf.io.gfile.isdir(out):
        raise ValueError(f"{out} exists and is not a folder; nothing was written.")
    tf.io.gfile.makedirs(out)
    names = tf.io.gfile.listdir(out)
    if MANIFEST in names:
        raise ValueError(f"{out} holds a sampling: go on with it by --resume (`resume=True`).")
    if not all(n.endswith(f".{MANIFEST}{shard_files.PART}") for n in names):
        raise ValueError(f"{out} exists and is not an empty folder; nothing was written.")
    shard_files.clear(out, MANIFEST)
    shard_files.put(posixpath.join(out, MANIFEST), (json.dumps(manifest, indent=2) + "\n").encode())


def _read(out):
    path = posixpath.join(out, MANIFEST)
    if not tf.io.gfile.exists(path):
        raise ValueError(f"There is no sampling in {out}: it has no {MANIFEST}.")
    with tf.io.gfile.GFile(path, "rb") as f:
        text = f.read()
    try:
        return json.loads(text)
    except ValueError as e:
        raise ValueError(f"{path} is damaged: {e}") from e


def _check_same(out, before, now):
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            raise ValueError(
                f"The sampling in {out} began with {name} {json.dumps(before.get(name))}. "
                f"Received: {json.dumps(now.get(name))}"
            )


def _place(out):
    """The folder as text: `pathlib` would make gs:/bucket of gs://bucket."""
    _checks.path("out", out)
    out = os.fspath(out)
    return out.rstrip("/") if "://" in out else os.path.abspath(os.path.expanduser(out))


@contextlib.contextmanager
def _errors(out):
    """TensorFlow's file errors as Python's."""
    try:
        yield
    except tf.errors.OpError as e:
        raise OSError(f"Writing to {out} failed: {e.message}") from e
