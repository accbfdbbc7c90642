"""The page that a fine-tuning run leaves: one HTML file with all in it."""

import base64
import csv
import json
import pathlib

import jinja2
from matplotlib.figure import Figure

from keras_gradlayer.metrics.scorer import format_conditions
from keras_gradlayer.serving.metadata import package_versions

_NAMES = (
    "classifier_score",
    "frechet_distance",
    "kernel_distance",
    "precision",
    "recall",
    "density",
    "coverage",
)
_FLOW = ("step_norm", "lipschitz", "injectivity_margin", "heldout_wasserstein")
_FIGURES = (
    ("Samples layer by layer", "grid/by_depth.png", "a row for each latent"),
    (
        "Scores",
        "scores.png",
        "by the number of layers; the line marks what is kept",
    ),
    ("The critic", "curves.png", "its estimate of W1 and the penalty, by epoch"),
    ("The flow", "flow.png", "what each layer did; a margin above 0 leaves room for no fold"),
)


def write_report(folder: pathlib.Path, layers: int) -> pathlib.Path:
    """Write `report.html` from the files of a run.

    Args:
        folder: the run's, with run.json, log.csv, and the pictures and scores there are.
        layers: how many are kept.

    Returns:
        The page's path.
    """
    record = _json(folder / "scores.json", {"scores": [], "conditions": {}})
    rows = list({row["layers"]: row for row in record["scores"]}.values())  # each depth once
    names = [n for n in _NAMES if rows and n in rows[0]]
    if rows:
        _curves(folder / "scores.png", rows, [r["layers"] for r in rows], names[:2], layers)
    with open(folder / "log.csv") as f:
        log = list(csv.DictReader(f))
    if log and _FLOW[0] in log[0]:
        flow = [{n: float(row[n]) for n in _FLOW if n in row} for row in log]
        _curves(folder / "flow.png", flow, [int(r["epoch"]) + 1 for r in log], list(flow[0]))
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_gradlayer", "."), autoescape=True, trim_blocks=True
    ).get_template("report.html")
    page = template.render(
        title=f"Gradient layers: {folder.name}",
        lead=_lead(rows, layers),
        scores=rows,
        names=names,
        best=layers,
        conditions=format_conditions(record["conditions"]) if rows else "",
        layers=layers,
        before=_embedded(folder / "before.png"),
        after=_embedded(folder / "after.png"),
        figures=[
            (heading, _embedded(folder / name), caption)
            for heading, name, caption in _FIGURES
            if (folder / name).exists()
        ],
        settings=_json(folder / "run.json", {}),
        versions=package_versions(),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _lead(rows, layers):
    """The run in a sentence."""
    kept = next((r for r in rows if r["layers"] == layers), None)
    if not rows or not layers or kept is None:
        return f"{layers} gradient layers."
    first = rows[0]
    gain = 100 * (kept["classifier_score"] / first["classifier_score"] - 1)
    fall = 100 * (kept["frechet_distance"] / first["frechet_distance"] - 1)
    return (
        f"{layers} gradient layers: classifier score {first['classifier_score']:.3f} to "
        f"{kept['classifier_score']:.3f} ({gain:+.1f}%), Fréchet distance "
        f"{first['frechet_distance']:.2f} to {kept['frechet_distance']:.2f} ({fall:+.1f}%)."
    )


def _curves(path, rows, x, names, mark=None):
    figure = Figure(figsize=(3.4 * len(names), 2.6), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        ax.plot(x, [row[name] for row in rows], marker=".")
        title = name.replace("_", " ").replace("frechet", "Fréchet")
        ax.set(xlabel="layers" if mark is not None else "epoch", title=title)
        ax.grid(alpha=0.3)
        if mark is not None:
            ax.axvline(mark, color="tab:gray", linestyle=":")
    figure.savefig(path, dpi=120)


def _embedded(path):
    if not path.exists():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _json(path, default):
    return json.loads(path.read_text()) if path.exists() else default
