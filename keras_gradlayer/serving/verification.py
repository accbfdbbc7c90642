"""What of a SavedModel would break under TensorFlow Serving."""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_gradlayer.serving import batching, warmup
from keras_gradlayer.serving.versions import find_version, read_graph

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_WRITES = re.compile("Assign.*VariableOp|ResourceScatter.*|ResourceApply.*|ResourceStridedSliceA.*")
_RANDOM = re.compile("Random.*|TruncatedNormal|Multinomial|ParameterizedTruncatedNormal")
_XLA = ("_XlaMustCompile", "_XlaCompile")
_CONSTANTS = 2**20
_ROWS = 4
# Far above what float32 rounding makes of a batch in another order, about 1e-7 a layer.
_TOLERANCE = 1e-3
_ERRORS = (tf.errors.OpError, ValueError, TypeError, OSError)
# Types that the server's REST interface cannot write as JSON.
_NOT_JSON = {tf.half, tf.bfloat16, tf.uint16, tf.complex64, tf.complex128}


class Finding(NamedTuple):
    """Something `verify` found."""

    breaks: bool
    """Whether a server could not load the model, or would answer wrongly or not at all."""
    message: str
    """What it is, and where."""


def verify(path: str | pathlib.Path) -> list[Finding]:
    """Check any SavedModel for what would break in a stock TensorFlow Serving with batching.

    Looked at: whether it is complete and loads; signatures (the batch as axis 0 of all inputs and
    outputs); XLA-compiled functions, which a server without XLA refuses; Python functions; ops
    that are not TensorFlow's own; random or stateful ops; answers that change from call to call;
    rows that depend on the rows beside them; a NaN in one row that spoils others; the warm-up
    requests, each replayed; `batching_params.pbtxt`. Signatures are run on invented rows, where
    some can be found that they take.

    Args:
        path: a SavedModel folder, or a model folder, for its newest version.

    Returns:
        The findings, empty if all is well. Those with `breaks` would fail in production; the
        others are to know of.

    Raises:
        ValueError: if there is no SavedModel.

    Example:

    >>> [finding.message for finding in verify(folder) if finding.breaks]
    []
    """
    folder = find_version(path)
    try:
        graph = read_graph(folder)
    except ValueError as e:
        return [Finding(True, str(e))]
    findings = list(_batching(folder))
    signatures = {n: s for n, s in graph.signature_def.items() if not n.startswith("__")}
    if not signatures:
        return [*findings, Finding(True, "There is no signature: nothing can be asked for.")]
    sound = []
    for name, signature in sorted(signatures.items()):
        found = [*_shapes(name, signature), *_ops(name, signature, graph)]
        findings += found
        if not any(f.breaks for f in found):
            sound.append(name)
    try:
        model = tf.saved_model.load(str(folder), tags=["serve"])
    except Exception as e:  # damaged files raise anything
        return [*findings, Finding(True, f"It does not load: {_cause(e)}")]
    for name in sound:
        findings += _run(name, model.signatures[name])
    return findings + list(_warmup(folder, model, sound))


def _batching(folder):
    """Whether a server would take the batch sizes."""
    file = folder / batching.FILE
    if file.is_file():
        try:
            batching.read_batching(file.read_text())
        except ValueError as e:
            yield Finding(True, f"{batching.FILE}: {e}.")


def _shapes(name, signature):
    """Whether the batch is axis 0 of all that a signature takes and gives."""
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for key, tensor in tensors.items():
            dims = [d.size for d in tensor.tensor_shape.dim]
            if not tensor.name:
                yield Finding(
                    True,
                    f"Signature '{name}' cannot be batched: {kind} '{key}' is not a dense tensor.",
                )
                continue
            if tensor.tensor_shape.unknown_rank:
                yield Finding(False, f"Signature '{name}': the rank of {kind} '{key}' is unknown.")
            elif not dims or dims[0] != -1:
                yield Finding(
                    True,
                    f"Signature '{name}' cannot be batched: axis 0 of {kind} '{key}' must be the "
                    f"batch, and its shape is {dims}.",
                )
            if kind == "output" and tf.as_dtype(tensor.dtype) in _NOT_JSON:
                yield Finding(
                    False,
                    f"Signature '{name}': REST cannot give output '{key}', "
                    f"{tf.as_dtype(tensor.dtype).name}; gRPC can.",
                )
            strings = kind == "output" and tensor.dtype == tf.string.as_datatype_enum
            if strings and not key.endswith("_bytes"):
                yield Finding(
                    False,
                    f"Signature '{name}': REST gives binary values only in outputs whose names "
                    f"end in '_bytes', unlike '{key}'.",
                )


def _ops(name, signature, meta):
    """What a signature runs that a server cannot, or that would make it answer at random."""
    library = {f.signature.name: f for f in meta.graph_def.library.function}
    seen, constants = set(), 0
    for where, op, attributes in _reachable(signature, meta.graph_def, library):
        breaks = found = None
        if any(attributes[a].b or attributes[a].s == b"true" for a in _XLA if a in attributes):
            breaks, found = (
                True,
                (
                    f"'{where}' is compiled by XLA (jit_compile=True), which is not "
                    "switched on in a server: it would load and fail at the first request"
                ),
            )
        elif op in _PYTHON:
            breaks = True
            found = f"'{where}' calls Python ({op}: tf.py_function), which a server does not have"
        elif op and op not in library and not hasattr(tf.raw_ops, op):
            found = f"'{where}' is the op {op}, not TensorFlow's own: is it in the server?"
        elif _WRITES.fullmatch(op) or _RANDOM.fullmatch(op):
            found = f"'{where}' is random or writes to a variable ({op}): do answers vary?"
        elif op == "Const":
            constants += attributes["value"].tensor.ByteSize()
        if found and found not in seen:
            seen.add(found)
            yield Finding(bool(breaks), f"Signature '{name}': {found}{'.' if breaks else ''}")
    if constants > _CONSTANTS:
        yield Finding(
            False, f"Signature '{name}': {constants / 2**20:.0f} MiB of constants in the graph."
        )


def _reachable(signature, graph, library) -> Iterator:
    """(name, op, attributes) of each node and function that a signature runs."""
    nodes = {n.name: n for n in graph.node}
    waiting = [nodes[t.name.split(":")[0]] for t in signature.outputs.values() if t.name]
    seen, called = set(), set()
    while waiting:
        node = waiting.pop()
        yield node.name, node.op, node.attr
        functions = [node.op] if node.op in library else []
        for value in node.attr.values():
            functions += [f.name for f in (value.func, *value.list.func) if f.name]
        for name in set(functions) - called:
            called.add(name)
            yield name, "", library[name].attr
            waiting += library[name].node_def
        for tensor in node.input if nodes.get(node.name) is node else []:
            above = tensor.removeprefix("^").split(":")[0]
            if above not in seen:
                seen.add(above)
                waiting.append(nodes[above])


def _run(name, signature):
    """Whether a signature answers, row by row, and the same each time."""
    specs = signature.structured_input_signature[1]

    def answer(rows):
        outputs = signature(**{key: tf.constant(value) for key, value in rows.items()})
        return {key: _plain(value.numpy()) for key, value in outputs.items()}

    rows, error = None, "no rows could be invented for its inputs"
    for invented in _invented(specs):
        try:
            together = answer(invented)
        except _ERRORS as e:
            error = _cause(e)
        else:
            rows = invented
            if all(_finite(value) for value in together.values()):
                break
    if rows is None:
        yield Finding(False, f"Signature '{name}' was not run: {error}")
        return
    try:
        again = answer(rows)
        alone = [answer({k: v[i : i + 1] for k, v in rows.items()}) for i in range(_ROWS)]
    except _ERRORS as e:
        yield Finding(True, f"Signature '{name}' fails for one row: {_cause(e)}")
        return
    beside_nan = _beside_nan(answer, rows)
    for key, value in together.items():
        single = [a[key] for a in alone]
        if value.shape[:1] != (_ROWS,) or any(len(a) != 1 for a in single):
            yield Finding(
                True,
                f"Signature '{name}' cannot be batched: for {_ROWS} rows, output '{key}' has the "
                f"shape {value.shape}.",
            )
        elif any(a.shape[1:] != value.shape[1:] for a in single):
            yield Finding(True, f"Signature '{name}': the shape of '{key}' depends on the batch.")
        elif not _finite(value):
            yield Finding(False, f"Signature '{name}': '{key}' is not finite on invented rows.")
        elif _apart(value, again[key]) > 0:
            yield Finding(True, f"Signature '{name}' answers the same request differently.")
        elif _apart(value, np.concatenate(single)) > _TOLERANCE:
            yield Finding(
                True,
                f"Signature '{name}': rows depend on the rows beside them. Alone, '{key}' is up to "
                f"{_apart(value, np.concatenate(single)):.2g} away.",
            )
        elif beside_nan and not _apart(value[1:], beside_nan[key][1:]) <= _TOLERANCE:
            yield Finding(True, f"Signature '{name}': a NaN in one row spoils the others.")


def _invented(specs):
    """Rows to try on a signature: of any sign, in [0, 1), and in larger shapes."""
    if any(not isinstance(s, tf.TensorSpec) or s.shape.rank is None for s in specs.values()):
        return
    if any(s.dtype == tf.string for s in specs.values()):
        return
    rng = np.random.default_rng(0)
    for unknown in (1, 8, 32):
        for draw in (rng.normal, rng.random):
            rows = {}
            for key, spec in specs.items():
                shape = (_ROWS, *(unknown if d is None else d for d in spec.shape[1:]))
                if spec.dtype.is_floating:
                    values = draw(size=shape)
                else:  # counted from 1, where 0 may stand for nothing
                    values = np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape)
                    if draw == rng.random:
                        values = 1 + values % 2
                rows[key] = values.astype(spec.dtype.as_numpy_dtype)
            yield rows


def _beside_nan(answer, rows):
    """The answer where the first row is NaN, if the signature takes that."""
    spoilt = {k: np.array(v) for k, v in rows.items()}
    floats = [v for v in spoilt.values() if tf.as_dtype(v.dtype).is_floating]
    for values in floats:
        values[0] = np.nan
    try:
        return answer(spoilt) if floats else None
    except _ERRORS:
        return None


def _plain(value):
    """Half precision as float32, which NumPy calculates with."""
    dtype = tf.as_dtype(value.dtype)
    return value.astype("float32") if dtype.is_floating and dtype.size < 4 else value


def _finite(value):
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _apart(a, b):
    """The largest difference, relative to values above 1; of text and truth, whether any."""
    if a.shape != b.shape:
        return np.inf
    if a.dtype.kind not in "fiu":
        return float(np.any(a != b))
    a, b = a.astype("float64"), b.astype("float64")
    return np.max(np.abs(a - b) / np.maximum(1, np.abs(a)), initial=0)


def _warmup(folder, model, sound):
    """Whether the requests that the server would replay succeed; one that fails stops the load."""
    if not (folder / warmup.FILE).is_file():
        return
    count = 0
    try:
        for request in warmup.read_warmup(folder):
            count += 1
            if request is None:
                continue
            name = request.model_spec.signature_name or "serving_default"
            if name not in model.signatures:
                yield Finding(True, f"A warm-up request names the signature '{name}': none such.")
            elif name in sound:
                outputs = warmup.replay(model.signatures[name], request)
                for key, value in outputs.items():
                    if not _finite(_plain(value.numpy())):
                        yield Finding(
                            True, f"Warm-up request {count}: '{key}' of '{name}' is not finite."
                        )
    except (*_ERRORS, DecodeError) as e:
        yield Finding(True, f"Warm-up request {count} fails: {_cause(e)}")
    if count > warmup.MAX_RECORDS:
        yield Finding(
            True, f"{count} warm-up requests: the server takes at most {warmup.MAX_RECORDS}."
        )


def _cause(error):
    """The line of an error that says what happened."""
    message = str(getattr(error, "message", None) or error).strip()
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    told = [
        line
        for line in lines
        if not line.startswith(("Graph execution error", "Detected at", "<stack", "[[", "{{"))
    ]
    return (told or lines or [type(error).__name__])[0]
