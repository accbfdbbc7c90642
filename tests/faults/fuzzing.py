"""Requests that are right, or wrong in one of many ways, and what the right ones must give."""

import functools

import numpy as np
import tensorflow as tf

from tests.serving.conftest import answers

HUGE = [2**63 - 1, -(2**63), -1, 0, 2**31, 2**32 + 7, -(2**40)]
LAYERS = [-(2**31), -5, -1, 0, 1, 2, 3, 7, 19, 20, 21, 99, 2**31 - 1]
WILD = np.array([np.nan, np.inf, -np.inf, 3e38, -1e30, 1e-40, 0.0])
KINDS = (
    *("plain", "plain", "plain", "wild numbers", "wild numbers", "no rows", "one row beside many"),
    *("other rows", "dtype", "rank", "size", "missing", "extra", "renamed", "signature"),
)
REFUSED = (TypeError, ValueError, tf.errors.InvalidArgumentError)


class Served:
    """The signatures of an exported folder, and what single rows of theirs give."""

    def __init__(self, folder):
        self.signatures = answers(folder)
        self.specs = {k: f.structured_input_signature[1] for k, f in self.signatures.items()}
        self.row = functools.cache(self._row)

    def _row(self, signature, *values):
        """The answer to a plain request of one row, given as (name, bytes)."""
        inputs = {}
        for name, content in values:
            spec = self.specs[signature][name]
            array = np.frombuffer(content, spec.dtype.as_numpy_dtype)
            inputs[name] = tf.constant(array.reshape(1, *spec.shape[1:]))
        try:
            [answer] = self.signatures[signature](**inputs).values()
        except tf.errors.InvalidArgumentError:
            return None  # a class that there is not
        return answer.numpy()[0]

    def right(self, signature, inputs):
        """The rows that a request must give; `None` if there is no right answer to it."""
        specs = self.specs.get(signature, {})
        if not specs or set(inputs) != set(specs):
            return None
        arrays = {k: _cast(v, specs[k].dtype.as_numpy_dtype) for k, v in inputs.items()}
        for name, array in arrays.items():
            if array is None or not array.ndim or array.shape[1:] != tuple(specs[name].shape[1:]):
                return None
        [count, *others] = {len(a) for a in arrays.values()}
        if others or not count:
            return None
        rows = [
            self.row(signature, *((k, a[i].tobytes()) for k, a in arrays.items()))
            for i in range(count)
        ]
        return None if any(row is None for row in rows) else rows

    def exact(self, signature, inputs):
        """Whether the types are the signature's, so that nothing has to be converted."""
        specs = self.specs[signature]
        return all(inputs[k].dtype == s.dtype.as_numpy_dtype for k, s in specs.items())


def _cast(value, dtype):
    """The same numbers in another type, if it has them."""
    if value.dtype.kind not in "iuf":
        return None
    with np.errstate(all="ignore"):
        array = value.astype(dtype)
    same = np.array_equal(array.astype(value.dtype), value, equal_nan=value.dtype.kind == "f")
    return array if same else None


def draw(rng, served):
    """A kind, a signature and its inputs by name."""
    kind = rng.choice(KINDS)
    signature = str(rng.choice(sorted(served.specs)))
    specs, count = served.specs[signature], int(rng.integers(1, 9))
    inputs = {k: _rows(rng, k, s, count, kind == "wild numbers") for k, s in specs.items()}
    name = str(rng.choice(sorted(specs)))
    x = inputs[name]
    if kind == "no rows":
        for k in inputs if rng.random() < 0.5 else [name]:
            inputs[k] = inputs[k][:0]
    elif kind == "one row beside many":
        inputs = {k: _rows(rng, k, s, max(count, 2), False) for k, s in specs.items()}
        inputs[name] = inputs[name][:1]
    elif kind == "other rows":
        inputs[name] = _rows(rng, name, specs[name], int(rng.integers(1, 9)), False)
    elif kind == "dtype":
        types = ["float64", "float16", "int32", "int64", "uint8", "bool", "complex64", "str"]
        with np.errstate(all="ignore"):
            inputs[name] = x.astype(rng.choice(types))
    elif kind == "rank":
        change = rng.integers(4)
        inputs[name] = [x[..., None], x[None], x.reshape(-1), x.reshape(-1)[0]][change]
    elif kind == "size":
        axis = int(rng.integers(1, x.ndim)) if x.ndim > 1 else 0
        size = int(rng.choice([0, 1, x.shape[axis] + 1, 2 * x.shape[axis]]))
        inputs[name] = np.resize(x, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    elif kind == "missing":
        del inputs[name]
    elif kind == "extra":
        inputs[str(rng.choice(["training", "samples", "x", "latents"]))] = x
    elif kind == "renamed":
        inputs[str(rng.choice(["y", "0", "Latent", "args_0"]))] = inputs.pop(name)
    elif kind == "signature":
        signature = str(rng.choice(["", "train", "Sample", "serving-default", "image "]))
    return str(kind), signature, inputs


def _rows(rng, name, spec, count, wild):
    """Rows of a small pool, so that their answers are known after a while."""
    shape, dtype = (count, *spec.shape[1:]), spec.dtype.as_numpy_dtype
    if name == "seed":
        pool = HUGE if wild else range(20)
        return rng.choice(np.array(pool, dtype), count)
    if name == "layers":
        return rng.choice(np.array(LAYERS if wild else range(5), dtype), count)
    if name == "condition":
        most = np.iinfo(dtype).max
        return rng.choice(
            np.array([0, 4, 5, -1, most, -most - 1] if wild else range(5), dtype), shape
        )
    which = rng.integers(20, size=count)
    x = np.stack([np.random.default_rng(i).normal(size=shape[1:]) for i in which]).astype(dtype)
    if wild:
        for row in x[: int(rng.integers(1, count + 1))]:
            row.reshape(-1)[rng.integers(row.size)] = rng.choice(WILD)
    return x


def same(found, rows):
    """Whether an answer is these rows, up to the rounding of batches of other sizes."""
    if np.ndim(found) < 1 or len(found) != len(rows):
        return False
    if isinstance(rows[0], bytes):  # PNG files: a level where a value is rounded
        a, b = (np.stack([tf.io.decode_png(p) for p in part]).astype(int) for part in (found, rows))
        return a.shape == b.shape and np.abs(a - b).max() <= 1
    found, rows = np.asarray(found, "float64"), np.stack(rows).astype("float64")
    # float32's 1e-7, over some layers and the sums in each
    return found.shape == rows.shape and np.allclose(
        found, rows, rtol=1e-5, atol=2e-6, equal_nan=True
    )
