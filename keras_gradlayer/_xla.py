"""Whether a program is faster compiled by XLA, found out by running it both ways."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence

import keras
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


def check_jit(jit_compile: bool | str) -> None:
    """Check that it is a yes, a no, or "auto"."""
    if jit_compile not in (True, False, "auto"):
        raise ValueError(
            f"`jit_compile` must be True, False or 'auto'. Received: jit_compile={jit_compile!r}"
        )


def faster(what: str, step: Callable, state: Sequence[tf.Tensor]) -> bool:
    """Whether going round a step takes less time under XLA than in graph mode.

    On a CPU that is so for many small operations, and the opposite for convolutions, many times
    over. The answer is kept, in this process and on disk (in Keras' own folder), for steps of the
    same operations on the same kind of device; it is logged when it is found.

    Args:
        what: what the step is part of, for the log.
        step: state -> state, tensors of the same shapes, without side effects.
        state: where to begin.
    """
    key = _key(tf.function(step, autograph=False).get_concrete_function(*state))
    if key not in _answers:
        _answers.update(_read())
    if key not in _answers:
        try:
            ratio = trial(step, state)
        except (tf.errors.OpError, ValueError) as e:
            # An operation that XLA does not have, or too little memory for both at once.
            _log.info("jit_compile='auto': XLA off for %s, which it failed to compile: %s", what, e)
            return False
        _answers[key] = ratio > 1
        _log.info(
            "jit_compile='auto': XLA %s for %s (%.2f of the speed of graph mode, measured)",
            "on" if _answers[key] else "off",
            what,
            ratio,
        )
        _write({**_read(), key: _answers[key]})
    return _answers[key]


def trial(step: Callable, state: Sequence[tf.Tensor]) -> float:
    """How many times as fast the step is under XLA, by the best of a few runs in turn."""

    def seconds(run):
        start = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), run(*state))
        return time.perf_counter() - start

    def several(*state):
        return tf.while_loop(
            lambda i, *_: i < 8, lambda i, *state: (i + 1, *step(*state)), (0, *state)
        )

    for program in (step, several):  # the first alone says enough where they are far apart
        runs = [tf.function(program, autograph=False, jit_compile=jit) for jit in (False, True)]
        best = [float("inf")] * 2
        for run in runs:
            seconds(run)  # makes it
        for _ in range(3):
            best = [min(b, seconds(run)) for b, run in zip(best, runs)]
        ratio = best[0] / best[1]
        if not 1 / 3 < ratio < 3:
            break
    return ratio


def updates(loss: Callable, variables: Sequence[keras.Variable]) -> tuple[Callable, list]:
    """A training step without its effects: one of Adam's, on values of its own.

    Args:
        loss: a number near 1 -> a scalar that depends on it and on the variables.
        variables: what to step.

    Returns:
        The step, state -> state, and where it begins.
    """
    n = len(variables)

    def step(*state):
        values, first, second = state[:n], state[n : 2 * n], state[2 * n :]
        with tf.GradientTape() as tape:
            tape.watch(values)
            with keras.StatelessScope(list(zip(variables, values))):
                # nothing can be worked out once for all steps
                found = loss(1 + 1e-3 * tf.reduce_mean(values[0]))
        gradients = tape.gradient(found, values, unconnected_gradients="zero")
        first = [0.5 * m + 0.5 * g for m, g in zip(first, gradients)]
        second = [0.9 * v + 0.1 * g * g for v, g in zip(second, gradients)]
        values = [x - 1e-4 * m / (v**0.5 + 1e-7) for x, m, v in zip(values, first, second)]
        return *values, *first, *second

    values = [tf.convert_to_tensor(v) for v in variables]
    return step, values + [tf.zeros_like(v) for v in values + values]


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
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    return pathlib.Path(home) / "keras_gradlayer" / "jit_compile.json"


def _read():
    try:
        found = json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(answers):
    path = _path()
    with contextlib.suppress(OSError):  # a home that cannot be written to: measured again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
            json.dump(answers, draft, indent=1)
        os.replace(draft.name, path)
