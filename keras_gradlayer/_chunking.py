"""How many rows to compute with at a time, so that the memory is bounded."""

import numpy as np


def chunk_rows(shape):
    """512 images of CIFAR-10, or as many values of other samples, at most 2,048 rows."""
    return int(np.clip(512 * 3072 // np.prod(shape), 1, 2048))
