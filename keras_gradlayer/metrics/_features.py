"""Validation of features, and passes over them in blocks."""

import numpy as np

from keras_gradlayer import _checks


def two_sets(a, b, least=1, names=("a", "b")):
    """Both as finite float matrices with equal numbers of columns, in their own precision."""
    a, b = floats(names[0], a), floats(names[1], b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < least:
        rows = {1: "", 2: " with at least two rows each"}.get(least, f" with {least} rows or more")
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` must be of shapes (n, d) and (m, d){rows}. "
            f"Received: {a.shape} and {b.shape}"
        )
    for name, x in zip(names, (a, b), strict=True):
        if not np.isfinite(x.sum(dtype="float64")):  # a sum takes no memory
            rows = np.flatnonzero(~np.isfinite(x).all(axis=1))
            raise ValueError(
                f"`{name}` must be finite, also its sum. Received: NaN or infinite values in "
                f"{len(rows)} of {len(x)} rows, {rows[:3]} for example"
            )
    return a, b


def blocks(rows, columns, values=2**20):
    """Slices over the rows, each about 8 MB of float64."""
    size = max(1, values // max(1, columns))
    return [slice(i, i + size) for i in range(0, rows, size)]


def floats(name, x):
    """An array of float32 or float64 as it is, any other as float64."""
    x = _checks.array(name, x)
    return x if x.dtype in ("float32", "float64") else x.astype("float64")
