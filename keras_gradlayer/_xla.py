"""Whether a program is faster compiled by XLA, found out by running it both ways."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import tensorflow as tf

_log = logging.getLogger(__name__)
_answers = {}


class MeasuresXLA:
    """A Keras model that finds out whether it is to be compiled by XLA, when it is first asked.

    For use beside `keras.Model`; subclasses define `_xla_wins`.
    """

    _jit = None

    @property
    def jit_compile(self) -> bool:
        """Whether programs are compiled by XLA; for "auto", measured once."""
        if self._jit is None:
            self._jit = self._xla_wins()
        return self._jit

    @jit_compile.setter
    def jit_compile(self, value):
        self._jit = value

    def _xla_wins(self):
        raise NotImplementedError


def check_jit(jit_compile: bool | str) -> None:
    """Check that it is a yes, a no, or "auto"."""
    if jit_compile not in (True, False, "auto"):
        raise ValueError(
            f"`jit_compile` must be True, False or 'auto'. Received: jit_compile={jit_compile!r}"
        )


def faster(what: str, program: Callable, arguments: Sequence[tf.Tensor]) -> bool:
    """Whether `program(*arguments)` takes less time under XLA than in graph mode.

    On a CPU that is so for small fully connected networks, several times over, and the opposite
    for convolutions. The answer is kept, in this process and on disk (in Keras' own folder), for
    programs of the same operations on the same kind of device; it is logged when it is found.

    Args:
        what: what the program is, for the log.
        program: a function without side effects, to be traced.
        arguments: what to call it with.
    """
    graph = tf.function(program, autograph=False)
    key = _key(graph.get_concrete_function(*arguments))
    if key not in _answers:
        _answers.update(_read())
    if key not in _answers:
        compiled = tf.function(program, autograph=False, jit_compile=True)
        ratio = trial(graph, compiled, arguments)
        _answers[key] = ratio > 1
        _log.info(
            "jit_compile='auto': XLA %s for %s (%.2f of the speed of graph mode, measured)",
            "on" if _answers[key] else "off",
            what,
            ratio,
        )
        _write({**_read(), key: _answers[key]})
    return _answers[key]


def trial(graph: Callable, compiled: Callable, arguments: Sequence[tf.Tensor]) -> float:
    """How many times as fast the compiled program is, by the best of a few runs in turn."""

    def seconds(run):
        start = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), run(*arguments))
        return time.perf_counter() - start

    best = [float("inf")] * 2
    for turn in range(4):  # the first makes the programs
        for i, run in enumerate((graph, compiled)):
            spent = seconds(run)
            if turn:
                best[i] = min(best[i], spent)
    return best[0] / best[1]


def _key(program):
    """A fingerprint of a traced program, its shapes and the devices it may run on."""
    nodes = [
        (n.op, n.attr["T"].type, str(n.attr["_output_shapes"]))
        for n in program.graph.as_graph_def(add_shapes=True).node
    ]
    devices = sorted(
        tf.config.experimental.get_device_details(d).get("device_name", d.device_type)
        for d in tf.config.list_physical_devices()
    )
    facts = repr((nodes, devices, os.cpu_count(), tf.__version__))
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _path():
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_gradlayer" / "jit_compile.json"


def _read():
    try:
        return json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}


def _write(answers):
    path = _path()
    with contextlib.suppress(OSError):  # a home that cannot be written to: measured again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(answers, indent=1))
        draft.replace(path)
