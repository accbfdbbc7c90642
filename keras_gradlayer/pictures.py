"""The pictures a run leaves: points by depth, grids of images, curves."""

import csv
import math

import numpy as np
import tensorflow as tf


def new_figure(width, height):
    """An empty figure of that size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise ImportError(
            "Pictures need the package matplotlib: pip install 'keras-gradlayer[plots]'"
        ) from e
    return Figure(figsize=(width, height), layout="constrained")


def flow_figure(path, sampler, latents, data, layers):
    """Draw the samples after some numbers of layers, and the data, side by side.

    In the manner of Figure 2 of Nitanda & Suzuki (2018).

    Args:
        path: PNG file to write.
        sampler: a `Sampler` or `FineTuner` of points in the plane.
        latents: latents to follow, shape (n, *latent.shape).
        data: points of shape (m, 2).
        layers: numbers of layers, one panel each.
    """
    figure = new_figure(2.6 * (len(layers) + 1), 2.8)
    axes = figure.subplots(1, len(layers) + 1, sharex=True, sharey=True)
    replay = tf.function(
        lambda z, k: sampler(z, layers=k), jit_compile=sampler.jit_compile, autograph=False
    )
    for ax, k in zip(axes, layers):
        points = replay(latents, tf.constant(k)).numpy()
        ax.scatter(*points.T, s=1.5, color="tab:blue", rasterized=True)
        ax.set_title("1 layer" if k == 1 else f"{k} layers")
    axes[-1].scatter(*np.asarray(data).T, s=1.5, color="tab:orange", rasterized=True)
    axes[-1].set_title("data")
    for ax in axes:
        ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[], yticks=[])
    figure.savefig(path, dpi=120, bbox_inches="tight")


def point_panels(path, rows, limit, data=None, scores=None):
    """Draw sets of points in the plane, a panel each.

    Args:
        path: PNG file to write.
        rows: the panels of each row, by its label: pairs of a title and points of shape (n, 2).
        limit: how far the panels reach from the origin.
        data: points to show underneath, in each panel; or a list, one a column.
        scores: by row label, for each panel a function of points (m, 2) whose level sets are
            drawn underneath.
    """
    columns = max(len(panels) for panels in rows.values())
    figure = new_figure(2 * columns + 0.4, 2.2 * len(rows))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    grid = np.linspace(-limit, limit, 80, dtype="float32")
    plane = np.stack(np.meshgrid(grid, grid), axis=-1)
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
            ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
            ax.set_title(title, fontsize=9)
    figure.savefig(path, dpi=100)


def sample_picture(path, samples, value_range=(-1, 1)):
    """Draw samples: images as a grid, points in the plane as dots.

    Args:
        path: PNG file to write.
        samples: array of shape (n, height, width, channels) or (n, 2).
        value_range: the values of images that are black and white; -1 and 1 where they have no
            such bounds.

    Returns:
        Whether there was a way to draw them.
    """
    samples = np.asarray(samples)
    if samples.ndim == 4 and samples.shape[-1] in (1, 3, 4):
        rows = max(1, math.isqrt(len(samples)))
        grid = _tiled(_colours(samples, value_range), columns=len(samples) // rows)
        tf.io.write_file(str(path), tf.io.encode_png(np.uint8(np.round(255 * grid))))
    elif samples.ndim == 2 and samples.shape[1] == 2:
        figure = new_figure(4, 4)
        ax = figure.subplots()
        ax.scatter(*samples.T, s=2)
        ax.set_aspect("equal")
        figure.savefig(path, dpi=120, bbox_inches="tight")
    else:
        return False
    return True


def strip(path, steps, titles, value_range=(-1, 1)):
    """Draw the same samples at several steps: a row a sample, a column a step.

    Args:
        path: PNG file to write.
        steps: arrays of as many samples, images (n, height, width, 1 or 3) or points (n, 2);
            points are drawn as a panel a step.
        titles: one for each step.
        value_range: as for `sample_picture`.
    """
    if steps[0].ndim == 2:
        limit = 1.1 * max(np.abs(points).max() for points in steps)
        point_panels(path, {"": list(zip(titles, steps))}, limit)
        return
    rows, columns = len(steps[0]), len(steps)
    grid = _tiled(np.swapaxes([_colours(images, value_range) for images in steps], 0, 1), columns)
    figure = new_figure(0.7 * columns, 0.7 * rows + 0.3)
    ax = figure.subplots()
    ax.imshow(grid, interpolation="none")
    width = grid.shape[1] / columns
    ax.set_xticks((np.arange(columns) + 0.5) * width, titles, fontsize=7)
    ax.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.set(yticks=[], frame_on=False)
    figure.savefig(path, dpi=120)


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
    low, high = value_range if np.isfinite(np.array(value_range, float)).all() else (-1, 1)
    images = np.nan_to_num((np.asarray(images, "float32") - low) / (high - low)).clip(0, 1)
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def curves(path, rows, x, names, unit, mark=None):
    """Draw columns of a table, a panel each.

    Args:
        path: PNG file to write.
        rows: the table's rows, dicts of numbers, or of their text.
        x: where each row stands on the axis.
        names: the columns to draw.
        unit: what the axis counts.
        mark: where to draw a line.
    """
    figure = new_figure(3.4 * len(names), 2.6)
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        ax.plot(x, [float(row[name]) for row in rows], marker=".")
        title = name.replace("_", " ").replace("frechet", "Fréchet")
        ax.set(xlabel=unit, title="estimate of W1" if name == "wasserstein" else title)
        ax.grid(alpha=0.3)
        if mark is not None:
            ax.axvline(mark, color="tab:gray", linestyle=":")
    figure.savefig(path, dpi=120)


def log_curves(path, log, unit, names=("wasserstein", "penalty")):
    """Draw columns of a run's log, those of `names` that it has.

    Args:
        path: PNG file to write.
        log: CSV file that `keras.callbacks.CSVLogger` wrote.
        unit: what a row of it is, for the axis.
        names: the columns to draw.
    """
    with open(log) as f:
        rows = list(csv.DictReader(f))
    names = [name for name in names if rows and name in rows[0]]
    if names:
        curves(path, rows, [int(row["epoch"]) + 1 for row in rows], names, unit)
