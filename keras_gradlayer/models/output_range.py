"""The range of a model's output activation, and whether data suits it."""

import keras
import numpy as np

from keras_gradlayer.models.splitting import split

UNBOUNDED = (-np.inf, np.inf)


def output_range(model: keras.Model) -> tuple[float, float]:
    """The least and largest value that a model can give, by its output activation.

    Infinite where there is no such bound, or where the activation cannot be seen. Found by what
    the activation, and all after it, gives for inputs from moderate to huge.
    """
    try:
        _, head = split(model)
    except ValueError:
        return UNBOUNDED
    shape = [d or 32 for d in head.input_shape[1:]]
    normal = np.random.default_rng(0).standard_normal((max(2, 4096 // np.prod(shape)), *shape))
    rows = np.concatenate([np.ones((1, *shape)), -np.ones((1, *shape)), normal])

    def extremes(scale):
        found = keras.ops.cast(head((scale * rows).astype("float32"), training=False), "float32")
        return np.array([-np.nanmin(found), np.nanmax(found)])

    bounds = np.maximum(extremes(4.0), extremes(1e3))
    huge = extremes(1e4 if head.inputs[0].dtype == "float16" else 1e30)
    grows = huge > bounds + 0.01 * (1 + np.abs(bounds))
    low, high = np.where(grows, np.inf, np.maximum(bounds, huge)).tolist()
    return -low, high


def range_mismatch(low: float, high: float, bounds: tuple[float, float]) -> str | None:
    """Why data from `low` to `high` does not suit a generator of this output range, if so."""
    least, most = bounds
    given = f"The data lies in [{low:.4g}, {high:.4g}], but the generator's output activation"
    if low < least - 1e-3 or high > most + 1e-3:
        return f"{given} only gives values in [{least:.4g}, {most:.4g}]. Rescale the data."
    if bounds == (-1, 1) and low >= 0 and high > 0.9:
        return f"{given} gives values in [-1, 1]. Rescale images from [0, 1] by `2 * x - 1`."
    return None
