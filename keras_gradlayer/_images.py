"""What images are: the range of their values, and where their channels stand."""

import numpy as np
import tensorflow as tf

STANDARD = (-1.0, 1.0)
"""The range of the images of `kgl.data`, and of those that classifiers take."""


def bounded(value_range):
    """Whether a range has two bounds; `None` and infinity are none."""
    return bool(np.isfinite(np.array(value_range, float)).all())


def rescaled(x, source, target=STANDARD):
    """`x`, moved from one range to another; as it is if one has no bounds, or both are equal."""
    if not (bounded(source) and bounded(target)) or np.allclose(source, target, atol=1e-3):
        return x
    (low, high), (least, most) = source, target
    return least + (x - low) * ((most - least) / (high - low))


def channels_first(shape):
    """Whether a sample of this shape is an image (1 or 3 channels, height, width)."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3, 4)


def is_image(shape):
    """Whether a sample of this shape is an image, with 1, 3 or 4 channels last or 1 or 3 first."""
    return len(shape) == 3 and (shape[2] in (1, 3, 4) or channels_first(shape))


def channels_last_shape(shape):
    """The shape of a sample with its channels last, if they come first."""
    return (*shape[1:], shape[0]) if channels_first(shape) else tuple(shape)


def channels_last(x):
    """A batch of samples with their channels last, if they are images with them first."""
    if not channels_first(tuple(x.shape[1:])):
        return x
    return tf.transpose(x, (0, 2, 3, 1)) if tf.is_tensor(x) else np.moveaxis(x, 1, 3)
