"""What the distances between two sets of features take."""

import numpy as np


def two_sets(a, b, least=1, names=("a", "b")):
    """Both as float64 matrices of as many columns."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < least:
        rows = {1: "", 2: " with at least two rows each"}.get(least, f" with {least} rows or more")
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` must be of shapes (n, d) and (m, d){rows}. "
            f"Received: {a.shape} and {b.shape}"
        )
    return a, b
