"""The pictures a run leaves: points by depth, grids of images, curves."""

import contextlib
import csv
import math

import numpy as np
import tensorflow as tf

from keras_gradlayer import _images


@contextlib.contextmanager
def figure(path, width, height, rows=1, columns=1, **options):
    """The axes (rows, columns) of a new figure, in inches, that is then saved as a PNG file."""
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise ImportError(
            "Pictures need the package matplotlib: pip install 'keras-gradlayer[plots]'"
        ) from e
    drawn = Figure(figsize=(width, height), layout="constrained")
    yield drawn.subplots(rows, columns, squeeze=False, **options)
    drawn.savefig(path, dpi=110)


def point_panels(path, rows, limit, data=None, scores=None):
    """Draw sets of points in the plane, a panel each.

    Args:
        path: PNG file to write.
        rows: by label, the panels of a row: pairs of a title and points of shape (n, 2).
        limit: how far the panels reach from the origin.
        data: points to show underneath, in each panel; or a list, one a column.
        scores: by label, for each panel a function of points (m, 2) to draw level sets of.
    """
    columns = max(len(panels) for panels in rows.values())
    grid = np.linspace(-limit, limit, 80, dtype="float32")
    plane = np.stack(np.meshgrid(grid, grid), axis=-1)
    frame = {"xlim": (-limit, limit), "ylim": (-limit, limit), "xticks": [], "yticks": []}
    with figure(path, 2 * columns + 0.4, 2.2 * len(rows), len(rows), columns) as axes:
        for row, (label, panels) in zip(axes, rows.items()):
            row[0].set_ylabel(label)
            for i, (ax, (title, points)) in enumerate(zip(row, panels)):
                if scores:
                    values = np.reshape(scores[label][i](plane.reshape(-1, 2)), plane.shape[:2])
                    ax.contour(grid, grid, values, levels=12, cmap="Greys", linewidths=0.5)
                if data is not None:
                    shown = data[i] if isinstance(data, list) else data
                    ax.scatter(*np.asarray(shown).T, s=3, color="tab:orange", rasterized=True)
                ax.scatter(*np.asarray(points).T, s=1, color="tab:blue", alpha=0.5, rasterized=True)
                ax.set(aspect="equal", **frame)
                ax.set_title(title, fontsize=9)


def drawable(sample_shape):
    """Whether samples of this shape can be drawn: images, and points in the plane."""
    return _images.is_image(sample_shape) or tuple(sample_shape) == (2,)


def sample_picture(path, samples, value_range=(-1, 1), rows=None):
    """Draw images, whose channels may stand first, as a grid, or points (n, 2) as dots.

    The values of `value_range` are drawn as black and white; -1 and 1 if they are not finite.

    `rows` is how many rows of images there are; as many as columns by default.

    Returns:
        Whether samples of this shape can be drawn.
    """
    samples = _images.channels_last(np.asarray(samples))
    if _images.is_image(samples.shape[1:]):
        rows = rows or max(1, math.isqrt(len(samples)))
        grid = _tiled(_colours(samples, value_range), columns=len(samples) // rows)
        tf.io.write_file(str(path), tf.io.encode_png(np.uint8(np.round(255 * grid))))
    elif drawable(samples.shape[1:]):
        with figure(path, 4, 4, subplot_kw={"aspect": "equal"}) as [[ax]]:
            ax.scatter(*samples.T, s=2)
    else:
        return False
    return True


def strip(path, steps, titles, value_range=(-1, 1)):
    """Draw the same samples at several steps: images in a column, points in a panel for each.

    The steps are arrays of images (n, height, width, 1 or 3) or points (n, 2).
    """
    if steps[0].ndim == 2:
        limit = 1.1 * max(np.abs(points).max() for points in steps)
        point_panels(path, {"": list(zip(titles, steps))}, limit)
        return
    steps = [_images.channels_last(np.asarray(images)) for images in steps]
    rows, columns = len(steps[0]), len(steps)
    grid = _tiled(np.swapaxes([_colours(images, value_range) for images in steps], 0, 1), columns)
    centers = (np.arange(columns) + 0.5) * (grid.shape[1] / columns)
    with figure(path, 0.7 * columns, 0.7 * rows + 0.3) as [[ax]]:
        ax.imshow(grid, interpolation="none")
        ax.set_xticks(centers, titles, fontsize=7)
        ax.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
        ax.set(yticks=[], frame_on=False)


def _tiled(images, columns):
    """Images in [0, 1] as one, enlarged by a whole number, with white gaps; full rows only."""
    images = np.reshape(images, (-1, *np.shape(images)[-3:]))
    images = images[: len(images) // columns * columns]
    scale = max(1, 64 // images.shape[1])
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    images = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], constant_values=1.0)
    _, height, width, channels = images.shape
    rows = images.reshape(-1, columns, height, width, channels)
    return rows.swapaxes(1, 2).reshape(-1, columns * width, channels)


def _colours(images, value_range):
    """Red, green and blue in [0, 1]; a plot would stretch each grey image's contrast."""
    value_range = value_range if _images.bounded(value_range) else _images.STANDARD
    images = _images.rescaled(np.asarray(images, "float32"), value_range, (0, 1))
    images = np.nan_to_num(images).clip(0, 1)
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def curves(path, rows, x, names, unit, mark=None):
    """Draw the columns `names` of a table over `x`, in `unit`, a panel each; `mark` is a line."""
    with figure(path, 3.4 * len(names), 2.6, 1, len(names)) as [axes]:
        for ax, name in zip(axes, names):
            ax.plot(x, [float(row[name]) for row in rows], marker=".")
            title = name.replace("_", " ").replace("frechet", "Fréchet")
            ax.set(xlabel=unit, title="estimate of W1" if name == "wasserstein" else title)
            ax.grid(alpha=0.3)
            if mark is not None:
                ax.axvline(mark, color="tab:gray", linestyle=":")


def log_curves(path, log, unit, names=("wasserstein", "penalty")):
    """Draw those of the columns `names` that a log of `keras.callbacks.CSVLogger` has."""
    with open(log) as f:
        rows = list(csv.DictReader(f))
    names = [name for name in names if rows and name in rows[0]]
    if names:
        curves(path, rows, [int(row["epoch"]) + 1 for row in rows], names, unit)
