"""What of a SavedModel would break under TensorFlow Serving."""

import contextlib
import functools
import itertools
import pathlib
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_gradlayer.serving import batching, warmup
from keras_gradlayer.serving.versions import find_version, read_graph

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_VARY = re.compile(
    "Assign.*VariableOp|Resource(Scatter|Apply|StridedSliceA).*|"
    "Random.*|(Parameterized)?TruncatedNormal|Multinomial"
)
_XLA = ("_XlaMustCompile", "_XlaCompile")
_MOST_CONSTANTS = 2**20  # bytes
_ROWS = 4
_ERRORS = (tf.errors.OpError, ValueError, TypeError, OSError)
# The distance from 1 to the next number.
_EPS = {tf.bfloat16: 2**-7, tf.half: 2**-10, tf.float32: 2**-23, tf.float64: 2**-52}
# Types that the server's REST interface cannot write as JSON.
_NOT_JSON = {tf.half, tf.bfloat16, tf.uint16, tf.complex64, tf.complex128}


class Finding(NamedTuple):
    """Something `verify` found."""

    breaks: bool  # whether a server could not load the model, or would answer wrongly or not at all
    message: str  # what it is, and where


_breaks, _note = functools.partial(Finding, True), functools.partial(Finding, False)


def verify(path: str | pathlib.Path) -> list[Finding]:
    """Check any SavedModel for what would break in a stock TensorFlow Serving with batching.

    It checks that the model is complete and loads; that axis 0 of all inputs and outputs is the
    batch; for functions compiled by XLA or written in Python, custom ops, and random or stateful
    ones; that answers repeat, and rows depend neither on the rows beside them nor on a NaN there;
    the warm-up requests, each replayed; and `batching_params.pbtxt`. Signatures are run on invented
    rows, where some are found that they take.

    Answers are equal if they agree to half of the digits of the least precise type in the graph,
    relative to the largest value of the output; rounded values, such as decoded pixels, may
    differ by one level more. A batch of another size rounds the last digits differently.

    Args:
        path: a SavedModel folder, or a model folder, for its newest version.

    Returns:
        The findings, empty if all is well. Those with `breaks` would fail in production.

    Raises:
        ValueError: if there is no SavedModel.

    Example:
        >>> [finding.message for finding in verify(folder) if finding.breaks]
        []
    """
    return list(_findings(find_version(path)))


def _findings(folder):
    if (file := folder / batching.FILE).is_file():
        try:
            batching.read_batching(file.read_text())
        except ValueError as e:
            yield _breaks(f"{batching.FILE}: {e}.")
    try:
        read_graph(folder)
        model = tf.saved_model.load(str(folder), tags=["serve"])
    except Exception as e:  # damaged files raise anything
        yield _breaks(f"It does not load: {_cause(e)}")
        return
    # Names in underscores are TensorFlow's own, such as the initialization.
    signatures = {n: s for n, s in sorted(model.signatures.items()) if not n.startswith("__")}
    if not signatures:
        yield _breaks("There is no signature: nothing can be asked for.")
    sound = []
    for name, signature in signatures.items():
        graph = signature.graph.as_graph_def()  # with the functions it calls, and no others
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        found = [*_shapes(signature), *_ops(graph, nodes, signature.captured_inputs)]
        found = list(dict.fromkeys(found))  # several nodes may have one name
        if not any(f.breaks for f in found):
            sound.append(name)
            found += _run(signature, _precision(nodes))
        yield from (Finding(f.breaks, f"Signature '{name}': {f.message}") for f in found)
    if (folder / warmup.FILE).is_file():
        yield from _warmup(folder, model, sound)


def _shapes(signature):
    """Whether the batch is axis 0 of all that a signature takes and gives."""
    given = [("input", *item) for item in signature.structured_input_signature[1].items()]
    given += [("output", *item) for item in signature.structured_outputs.items()]
    for kind, key, spec in given:
        if not isinstance(spec, (tf.TensorSpec, tf.Tensor)):
            yield _breaks(f"{kind} '{key}' is not a dense tensor.")
            continue
        if spec.shape.rank is None:
            yield _note(f"the rank of {kind} '{key}' is unknown.")
        elif spec.shape.rank == 0 or spec.shape[0] is not None:
            shape = f"its shape is {spec.shape.as_list()}"
            yield _breaks(f"axis 0 of {kind} '{key}' must be the batch, and {shape}.")
        if kind == "output" and spec.dtype in _NOT_JSON:
            yield _note(f"REST cannot give output '{key}', {spec.dtype.name}; gRPC can.")
        if kind == "output" and spec.dtype == tf.string and not key.endswith("_bytes"):
            yield _note(
                "REST gives binary values only in outputs whose names end in '_bytes', "
                f"unlike '{key}'."
            )


def _ops(graph, nodes, captured):
    """What a server cannot run, or what may make it answer at random."""
    functions = {f.signature.name: f.attr for f in graph.library.function}
    for name, attributes in [*functions.items(), *((n.name, n.attr) for n in nodes)]:
        if any(attributes[a].b or attributes[a].s == b"true" for a in _XLA if a in attributes):
            said = f"'{name}' is compiled by XLA (jit_compile=True), which is not switched on"
            yield _breaks(f"{said} in a server: it would load and fail at the first request.")
    captured = [t for t in captured if t.dtype.is_floating or t.dtype.is_integer]
    constants = sum(t.dtype.size * t.shape.num_elements() for t in captured)
    for node in nodes:
        if node.op in _PYTHON:
            said = f"'{node.name}' calls Python ({node.op}: tf.py_function)"
            yield _breaks(f"{said}, which a server does not have.")
        elif node.op not in functions and not hasattr(tf.raw_ops, node.op):
            said = f"'{node.name}' is the op {node.op}, not TensorFlow's own"
            yield _note(f"{said}: is it in the server?")
        elif _VARY.fullmatch(node.op):
            said = f"'{node.name}' is random or writes to a variable ({node.op})"
            yield _note(f"{said}: do answers vary?")
        elif node.op == "Const":
            constants += node.attr["value"].tensor.ByteSize()
    if constants > _MOST_CONSTANTS:
        yield _note(f"{constants / 2**20:.0f} MiB of constants in the graph.")


def _precision(nodes):
    """The relative rounding error of the least precise floats that are computed with."""
    enums = {a.type for node in nodes for a in node.attr.values()} - {0}
    types = {tf.as_dtype(enum) for enum in enums}
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled
    if tf.float32 in types and tf.config.list_physical_devices("GPU") and tf32():
        types.add(tf.half)  # TensorFloat-32 has as many digits
    return max((_EPS[dtype] for dtype in types & set(_EPS)), default=0.0)


def _run(signature, eps):
    """Whether a signature answers, row by row, and the same each time."""

    def answer(rows):
        outputs = signature(**{key: tf.constant(value) for key, value in rows.items()})
        return {key: _comparable(value) for key, value in outputs.items()}

    rows, error = None, "no rows could be invented for its inputs"
    for invented in _invented(signature.structured_input_signature[1]):
        try:
            together, rows = answer(invented), invented
        except _ERRORS as e:
            error = _cause(e)
        else:
            if all(_finite(value) for value in together.values()):
                break
    if rows is None:
        yield _note(f"it was not run: {error}")
        return
    try:
        again = answer(rows)
        single = [answer({k: v[i : i + 1] for k, v in rows.items()}) for i in range(_ROWS)]
    except _ERRORS as e:
        yield _breaks(f"it fails for one row: {_cause(e)}")
        return
    nan, beside_nan = {k: v.copy() for k, v in rows.items()}, None
    for values in nan.values():
        if tf.as_dtype(values.dtype).is_floating:
            values[0] = np.nan
    with contextlib.suppress(*_ERRORS):  # it may refuse a NaN
        beside_nan = answer(nan)
    for key, value in together.items():
        alone = [a[key] for a in single]
        if value.shape[:1] != (_ROWS,) or any(a.shape[:1] != (1,) for a in alone):
            shown = f"for {_ROWS} rows, output '{key}' has the shape {value.shape}"
            yield _breaks(f"it cannot be batched: {shown}.")
        elif any(a.shape[1:] != value.shape[1:] for a in alone):
            yield _breaks(f"the shape of '{key}' depends on the batch.")
        elif not _finite(value):
            yield _note(f"'{key}' is not finite on invented rows.")
        elif _apart(value, again[key], eps):
            yield _breaks("it answers the same request differently.")
        elif distance := _apart(value, np.concatenate(alone), eps):
            apart = f"Alone, '{key}' is up to {distance:.2g} away"
            yield _breaks(f"rows depend on the rows beside them. {apart}.")
        elif beside_nan and _apart(value[1:], beside_nan[key][1:], eps):
            yield _breaks("a NaN in one row spoils the others.")


def _invented(specs):
    """Rows to try on a signature: of any sign, in [0, 1), and in larger shapes."""
    if not all(
        isinstance(s, tf.TensorSpec) and s.shape.rank is not None and s.dtype != tf.string
        for s in specs.values()
    ):
        return
    rng = np.random.default_rng(0)
    for unknown, unit in itertools.product((1, 8, 32), (False, True)):
        rows = {}
        for key, spec in specs.items():
            shape = (_ROWS, *(unknown if d is None else d for d in spec.shape[1:]))
            if spec.dtype.is_floating:
                values = rng.random(shape) if unit else rng.normal(size=shape)
            else:  # counted from 1, where 0 may stand for nothing
                values = 1 + np.arange(np.prod(shape)).reshape(shape) % (2 if unit else 2**31)
            rows[key] = values.astype(spec.dtype.as_numpy_dtype)
        yield rows


def _comparable(tensor):
    """Values that NumPy calculates with: images decoded, half precision as float32."""
    if tensor.dtype == tf.string and tensor.shape.rank == 1:
        with contextlib.suppress(*_ERRORS):  # text
            return np.stack([tf.io.decode_image(v, expand_animations=False) for v in tensor])
    half = tensor.dtype in (tf.half, tf.bfloat16)
    return (tf.cast(tensor, "float32") if half else tensor).numpy()


def _finite(value):
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _apart(a, b, eps):
    """How far two answers differ, if by more than rounding: of floats, and of these to levels."""
    if a.shape != b.shape or a.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(a, b) else np.inf
    a, level = a.astype("float64"), 0.0 if a.dtype.kind == "f" else 1.0
    distance = np.max(np.abs(a - b), initial=0)
    return 0.0 if distance <= level + eps**0.5 * np.max(np.abs(a), initial=0) else distance


def _warmup(folder, model, sound):
    """Whether the requests that the server would replay succeed; one that fails stops the load."""
    count = 0
    try:
        for count, request in enumerate(warmup.read_warmup(folder), start=1):
            if request is None:
                continue
            name = request.model_spec.signature_name or "serving_default"
            if name not in model.signatures:
                yield _breaks(f"A warm-up request names the signature '{name}': none such.")
            elif name in sound:
                for key, value in warmup.replay(model.signatures[name], request).items():
                    if not _finite(_comparable(value)):
                        shown = f"'{key}' of '{name}' is not finite."
                        yield _breaks(f"Warm-up request {count}: {shown}")
    except (*_ERRORS, DecodeError) as e:
        yield _breaks(f"Warm-up request {count} fails: {_cause(e)}")
    if count > warmup.MAX_RECORDS:
        yield _breaks(f"{count} warm-up requests: the server takes at most {warmup.MAX_RECORDS}.")


def _cause(error):
    """The line of an error that says what happened."""
    lines = str(getattr(error, "message", None) or error).splitlines()
    lines = [line.strip() for line in lines if line.strip()] or [type(error).__name__]
    frames = ("Graph execution error", "Detected at", "<stack", "[[", "{{")
    return next((line for line in lines if not line.startswith(frames)), lines[0])
