"""The pictures a run leaves: points by depth, grids of images, curves."""

import contextlib
import csv
import itertools
import math
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from keras_gradlayer import _checks, _images, _random
from keras_gradlayer._conditions import call, given, pair

__all__ = ["animate_flow"]

_DPI = 110
_FRAMES = 50


def animate_flow(
    sampler: keras.Model,
    latents: ArrayLike,
    path: str | os.PathLike,
    data: ArrayLike | None = None,
) -> None:
    """Write a GIF of samples on their way through the gradient layers.

    Use it to see what the layers do: points in the plane as dots, images as a grid. It begins with
    no layer, shows each depth (51 of them if there are more) and rests on the last.

    Args:
        sampler: a `kgl.Sampler` or `kgl.FineTuner` of at least one layer.
        latents: what its samples follow from, (n, *latent.shape), for a conditional sampler also
            [latents, conditions]. A thousand points or 64 images work well.
        path: the file to write, `.gif`.
        data: points (n, 2) to show underneath, for a sampler of points.

    Raises:
        TypeError: for a model without gradient layers.
        ValueError: for a sampler with none stacked, or whose samples cannot be drawn; for another
            kind of file, latents of another shape, and data that are not points.
        ImportError: without Matplotlib.

    Example:
        >>> critic = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        >>> sampler = kgl.refine(None, critic, step_size=0.1, steps=5)
        >>> z = sampler.latent.sample(100, seed=0)
        >>> kgl.pictures.animate_flow(sampler, z, tmp_path / "flow.gif")
    """
    _checks.path("path", path)
    if pathlib.Path(path).suffix.lower() != ".gif":
        raise ValueError(f"`path` must end with .gif. Received: path={os.fspath(path)!r}")
    flow = getattr(sampler, "flow", sampler)  # a tuner's
    if not hasattr(flow, "positions"):
        raise TypeError(
            "`sampler` must be a kgl.Sampler or a kgl.FineTuner. "
            f"Received: a {type(sampler).__name__}"
        )
    shape = tuple(flow.sample_shape)
    if not drawable(shape):
        raise ValueError(
            "An animation shows images, (height, width, 1, 3 or 4) or (1 or 3, height, width), "
            f"and points in the plane, (2,). Received: samples of shape {shape}"
        )
    if not flow.depth:
        raise ValueError("`sampler` must have a gradient layer. Received: a sampler of 0 layers")
    if data is not None:
        data = _checks.array("data", data)
        if shape != (2,) or data.ndim != 2 or data.shape[1] != 2:
            raise ValueError(
                "`data` are points (n, 2) to show with samples that are points. Received: data of "
                f"shape {data.shape} with samples of shape {shape}"
            )
    if not (folder := pathlib.Path(path).parent).is_dir():
        raise ValueError(f"`path` must lie in a folder that exists. Received: {folder}")
    depths = np.linspace(0, flow.depth, min(flow.depth, _FRAMES) + 1).round().astype(int)
    _animate(path, depths, _samples_at(flow, latents, depths), data, flow.output_range())


def _samples_at(flow, latents, depths):
    """Samples at each depth, each layer applied once."""
    if flow.condition_spec is None:
        latents = _checks.array("latents", latents)
    z, condition = given(flow, tf.nest.map_structure(tf.convert_to_tensor, latents), None)
    _checks.latents(z, flow.latent.shape)
    if not len(z):
        raise ValueError("`latents` must have at least one row. Received: 0")
    x = tf.cast(flow.positions(pair(z, condition), 0), flow.stack.variable_dtype)
    options = flow.given(condition)
    if flow.stack.temperature:
        options["seeds"] = _random.row_seeds(z)
    found = []
    for first, last in itertools.pairwise([0, *depths.tolist()]):
        x = flow.stack(x, layers=last, first=first, **options)
        samples = call(flow.head, x, condition, training=False)
        found.append(np.asarray(tf.cast(samples, "float32")))
    return found


def _animate(path, depths, frames, data, value_range):
    """Write frames of samples, each under its number of layers, as a GIF that repeats."""
    with _matplotlib():
        from matplotlib.animation import PillowWriter
        from matplotlib.figure import Figure
    images = frames[0].ndim > 2
    if images:
        frames = [_grid(images, value_range) for images in frames]
        height, width = (n / _DPI for n in frames[0].shape[:2])
    else:
        height = width = 3.2
        limit = 1.05 * max(
            np.abs(x[np.isfinite(x)]).max(initial=0.1) for x in (*frames, data) if x is not None
        )
    title = 0.25
    drawn = Figure(figsize=(width, height + title))
    ax = drawn.add_axes((0, 0, 1, height / (height + title)))
    ax.set(xticks=[], yticks=[])
    rate = min(10, max(2, len(frames) / 5))  # frames a second
    writer = PillowWriter(fps=rate)
    with writer.saving(drawn, str(path), _DPI):
        if images:
            shown = ax.imshow(frames[0], interpolation="none")
            ax.set_frame_on(False)
        else:
            ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
            if data is not None:
                ax.scatter(*data.T, s=3, color="tab:orange")
            shown = ax.scatter(*frames[0].T, s=2, color="tab:blue")
        for depth, frame in zip(depths, frames):
            shown.set_data(frame) if images else shown.set_offsets(frame)
            ax.set_title("1 layer" if depth == 1 else f"{depth} layers", fontsize=9, pad=3)
            writer.grab_frame()
        for _ in range(round(2 * rate)):  # two seconds
            writer.grab_frame()


@contextlib.contextmanager
def _matplotlib():
    """Say which extra brings it, where it is missing."""
    try:
        yield
    except ImportError as e:
        raise ImportError(
            "Pictures need the package matplotlib: pip install 'keras-gradlayer[plots]'"
        ) from e


@contextlib.contextmanager
def figure(path, width, height, rows=1, columns=1, layout="constrained", **options):
    """The axes (rows, columns) of a new figure, in inches, that is then saved as a PNG file."""
    with _matplotlib():
        from matplotlib.figure import Figure
    drawn = Figure(figsize=(width, height), layout=layout)
    yield drawn.subplots(rows, columns, squeeze=False, **options)
    drawn.savefig(path, dpi=_DPI)


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
    samples = np.asarray(samples)
    if _images.is_image(samples.shape[1:]):
        grid = _grid(samples, value_range, rows)
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
    columns = len(steps)
    grid = _tiled(np.swapaxes([_colours(images, value_range) for images in steps], 0, 1), columns)
    centers = (np.arange(columns) + 0.5) * (grid.shape[1] / columns)
    height, width = (n / _DPI for n in grid.shape[:2])  # a pixel is a pixel
    whole = height + 0.25
    edges = {"left": 0, "right": 1, "bottom": 0, "top": height / whole}
    with figure(path, width, whole, layout=None, gridspec_kw=edges) as [[ax]]:
        ax.imshow(grid, interpolation="none")
        ax.set_xticks(centers, titles, fontsize=7)
        ax.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
        ax.set(yticks=[], frame_on=False)


def _grid(images, value_range, rows=None):
    """Images as one, in as many rows as columns by default."""
    images = _images.channels_last(np.asarray(images))
    rows = rows or max(1, math.isqrt(len(images)))
    return _tiled(_colours(images, value_range), columns=len(images) // rows)


def _tiled(images, columns):
    """Images in [0, 1] as one, side by side, enlarged by a whole number; full rows only."""
    images = np.reshape(images, (-1, *np.shape(images)[-3:]))
    images = images[: len(images) // columns * columns]
    scale = max(1, 64 // images.shape[1])
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
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
