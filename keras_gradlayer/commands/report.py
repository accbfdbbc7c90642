"""The page that a fine-tuning run leaves: one HTML file with all in it."""

import base64
import csv
import json
import re

from keras_gradlayer import pictures
from keras_gradlayer.commands import advice
from keras_gradlayer.metrics.scorer import format_conditions
from keras_gradlayer.serving.metadata import package_versions


def write_report(folder, step_sizes):
    """Write `report.html` from the files of a run, with the step sizes of the layers it keeps."""
    import jinja2

    layers = len(step_sizes)
    record = _json(folder / "scores.json", {"scores": []})
    rows = {row["layers"]: row for row in record["scores"]}  # each depth once
    first = next(iter(rows.values()), {})
    beside = ("epoch", "layers", "classifier_score_splits", "classifier_score_stddev")
    names = sorted((n for n in first if n not in beside), key=lambda n: n != "frechet_distance")
    log, settings = _log(folder / "log.csv"), _json(folder / "run.json", {})
    if rows:
        path = folder / "scores.png"
        pictures.curves(path, rows.values(), list(rows), names[:2], "layers", mark=layers)
    columns = ("step_norm", "lipschitz", "injectivity_margin", "heldout_wasserstein")
    pictures.log_curves(folder / "flow.png", folder / "log.csv", "epoch", columns)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_gradlayer.commands", "."),
        autoescape=True,
        trim_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=f"Gradient layers: {folder.name}",
        verdict=advice.verdict(layers, first, rows.get(layers), names[0] if names else None),
        summary=describe_layers(step_sizes),
        steps=list(zip(step_sizes, advice.epochs_of(log, layers))),
        advice=map(_code, advice.next_steps(settings, log, list(rows.values()), layers)),
        title_of=advice.title_of,
        scores=rows.values(),
        first=first,
        kept=rows.get(layers),
        names=names,
        layers=layers,
        conditions=record.get("conditions") and format_conditions(record["conditions"]),
        embedded=lambda name: _embedded(folder / name),
        settings=settings,
        versions=package_versions(),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def describe_layers(step_sizes):
    """How many layers there are, and their step sizes, such as "2 gradient layers (η = 0.5)"."""
    sizes = [f"{eta:.4g}" for eta in step_sizes]
    sizes = sizes[:1] if len(set(sizes)) == 1 else sizes
    layers = "1 gradient layer" if len(step_sizes) == 1 else f"{len(step_sizes)} gradient layers"
    return f"{layers} (η = {', '.join(sizes)})" if sizes else layers


def _code(tip):
    """Its options as code, which is not broken over lines."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(--[a-z-]+( [\d.]*\d)?)", r"<code>\1</code>", str(escape(tip))))


def _log(path):
    """The rows of a log, as dicts of strings."""
    if not path.exists():
        return []
    with open(path) as f:
        return list(csv.DictReader(f))


def _embedded(path):
    """A picture's data URL, if there is one."""
    if path.exists():
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _json(path, default):
    return json.loads(path.read_text()) if path.exists() else default
