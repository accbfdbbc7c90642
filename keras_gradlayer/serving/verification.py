"""What of a SavedModel would break under TensorFlow Serving."""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from keras_gradlayer.serving import warmup
from keras_gradlayer.serving.versions import find_version

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_WRITES = re.compile("Assign.*VariableOp|ResourceScatter.*|ResourceApply.*|ResourceStridedSliceA.*")
_RANDOM = re.compile("Random.*|TruncatedNormal|Multinomial|ParameterizedTruncatedNormal")
_XLA = ("_XlaMustCompile", "_XlaCompile")
_CONSTANTS = 2**20
# Far above what float32 rounding makes of a batch in another order, about 1e-7 a layer.
_TOLERANCE = 1e-3
_ERRORS = (tf.errors.OpError, ValueError, TypeError, OSError)


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
    that are not TensorFlow's own; random or stateful ops; rows that depend on the rows beside
    them; a NaN in one row that spoils others; outputs that are not finite; the warm-up requests,
    each replayed; `batching_params.pbtxt`. Every signature without string inputs is run.

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
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as e:
        return [Finding(True, f"saved_model.pb cannot be read: {e}.")]
    graphs = [m for m in saved.meta_graphs if "serve" in m.meta_info_def.tags]
    if not graphs:
        return [Finding(True, "There is no graph with the tag 'serve', which servers look for.")]
    findings = list(_batching(folder))
    signatures = {n: s for n, s in graphs[0].signature_def.items() if not n.startswith("__")}
    if not signatures:
        return [*findings, Finding(True, "There is no signature: nothing can be asked for.")]
    sound = []
    for name, signature in sorted(signatures.items()):
        found = [*_shapes(name, signature), *_ops(name, signature, graphs[0])]
        findings += found
        if not any(f.breaks for f in found):
            sound.append(name)
    try:
        model = tf.saved_model.load(str(folder))
    except Exception as e:  # damaged files raise anything
        return [*findings, Finding(True, f"It does not load: {_first_line(e)}")]
    for name in sound:
        findings += _run(name, model.signatures[name])
    return findings + list(_warmup(folder, model, sound))


def _batching(folder):
    """Whether a server would take the batch sizes."""
    file = folder / "batching_params.pbtxt"
    if file.is_file():
        sizes = [int(n) for n in re.findall(r"allowed_batch_sizes:\s*(\d+)", file.read_text())]
        largest = re.search(r"max_batch_size\s*{\s*value:\s*(\d+)", file.read_text())
        if sizes != sorted(set(sizes)):
            yield Finding(True, f"{file.name}: allowed_batch_sizes must increase, and are {sizes}.")
        if sizes and largest and int(largest[1]) != sizes[-1]:
            yield Finding(
                True,
                f"{file.name}: max_batch_size, {largest[1]}, must be the last of "
                f"allowed_batch_sizes, {sizes[-1]}.",
            )


def _shapes(name, signature):
    """Whether the batch is axis 0 of all that a signature takes and gives."""
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for key, tensor in tensors.items():
            dims = [d.size for d in tensor.tensor_shape.dim]
            if tensor.tensor_shape.unknown_rank:
                yield Finding(False, f"Signature '{name}': the rank of {kind} '{key}' is unknown.")
            elif not dims or dims[0] != -1:
                yield Finding(
                    True,
                    f"Signature '{name}' cannot be batched: axis 0 of {kind} '{key}' must be the "
                    f"batch, and its shape is {dims}.",
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
        found = None
        if any(attributes[a].b or attributes[a].s == b"true" for a in _XLA if a in attributes):
            found = (
                f"'{where}' is compiled by XLA (jit_compile=True), which a server does not have "
                "switched on: it would load and fail at the first request"
            )
        elif op in _PYTHON:
            found = f"'{where}' calls Python ({op}: tf.py_function), which a server does not have"
        elif op and op not in library and not hasattr(tf.raw_ops, op):
            found = f"'{where}' is the op {op}, which is not TensorFlow's own"
        elif _WRITES.fullmatch(op) or _RANDOM.fullmatch(op):
            found = f"'{where}' is random or writes to a variable ({op}): answers would change"
        elif op == "Const":
            constants += attributes["value"].tensor.ByteSize()
        if found and found not in seen:
            seen.add(found)
            yield Finding(True, f"Signature '{name}': {found}.")
    if constants > _CONSTANTS:
        yield Finding(
            False, f"Signature '{name}': {constants / 2**20:.0f} MiB of constants in the graph."
        )


def _reachable(signature, graph, library) -> Iterator:
    """(name, op, attributes) of each node and function that a signature runs."""
    nodes = {n.name: n for n in graph.node}
    waiting = [nodes[t.name.split(":")[0]] for t in signature.outputs.values()]
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
    if any(spec.dtype == tf.string for spec in specs.values()):
        yield Finding(False, f"Signature '{name}' has string inputs and was not run.")
        return
    rng = np.random.default_rng(0)
    rows = {}
    for key, spec in specs.items():
        shape = (4, *(1 if d is None else d for d in spec.shape[1:]))
        if spec.dtype.is_floating:
            rows[key] = rng.normal(size=shape).astype(spec.dtype.as_numpy_dtype)
        else:
            numbers = np.arange(4).reshape([4] + [1] * (len(shape) - 1))
            rows[key] = np.broadcast_to(numbers, shape).astype(spec.dtype.as_numpy_dtype)

    def answer(rows):
        outputs = signature(**{key: tf.constant(value) for key, value in rows.items()})
        return {key: value.numpy() for key, value in outputs.items()}

    spoilt = {k: np.array(v) for k, v in rows.items()}
    floats = [v for v in spoilt.values() if np.issubdtype(v.dtype, np.floating)]
    for values in floats:
        values[0] = np.nan
    try:
        together, again = answer(rows), answer(rows)
        alone = [answer({k: v[i : i + 1] for k, v in rows.items()}) for i in range(4)]
        beside_nan = answer(spoilt) if floats else together
    except _ERRORS as e:
        yield Finding(True, f"Signature '{name}' fails: {_first_line(e)}")
        return
    for key, value in together.items():
        if value.shape[:1] != (4,):
            yield Finding(
                True,
                f"Signature '{name}' cannot be batched: for 4 rows, output '{key}' has the shape "
                f"{value.shape}.",
            )
        elif np.issubdtype(value.dtype, np.number):
            if not np.isfinite(value).all():
                yield Finding(True, f"Signature '{name}': '{key}' is not finite.")
            elif not np.array_equal(value, again[key]):
                yield Finding(True, f"Signature '{name}' answers the same request differently.")
            elif _apart(value, np.concatenate([a[key] for a in alone])) > _TOLERANCE:
                yield Finding(
                    True,
                    f"Signature '{name}': rows depend on the rows beside them. Alone, '{key}' is "
                    f"up to {_apart(value, np.concatenate([a[key] for a in alone])):.2g} away.",
                )
            elif not _apart(value[1:], beside_nan[key][1:]) <= _TOLERANCE:
                yield Finding(True, f"Signature '{name}': a NaN in one row spoils the others.")


def _apart(a, b):
    """The largest difference, relative to values above 1."""
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
            name = request.model_spec.signature_name or "serving_default"
            if name not in model.signatures:
                yield Finding(True, f"A warm-up request names the signature '{name}': none such.")
            elif name in sound:
                warmup.replay(model, request)
    except (*_ERRORS, DecodeError) as e:
        yield Finding(True, f"Warm-up request {count} fails: {_first_line(e)}")
    if count > warmup.MAX_RECORDS:
        yield Finding(
            True, f"{count} warm-up requests: the server takes at most {warmup.MAX_RECORDS}."
        )


def _first_line(error):
    return str(getattr(error, "message", None) or error).strip().splitlines()[0]
