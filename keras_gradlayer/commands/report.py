"""The page that a fine-tuning run leaves: one HTML file with all in it."""

import base64
import json

from keras_gradlayer import pictures

_FLOW = ("step_norm", "lipschitz", "injectivity_margin", "heldout_wasserstein")
_FIGURES = (
    ("Samples layer by layer", "grid/by_depth.png", "a row for each latent"),
    ("Scores", "scores.png", "by the number of layers; the line marks what is kept"),
    ("The critic", "curves.png", "its estimate of W1 and the penalty, by epoch"),
    (
        "The flow",
        "flow.png",
        "what each layer did; a margin above 0 means that the layer is injective: no two samples "
        "can meet",
    ),
)


def write_report(folder, step_sizes):
    """Write `report.html` from the files of a run.

    Args:
        folder: the run's, with run.json, log.csv, and the pictures and scores there are.
        step_sizes: those of the layers that are kept.

    Returns:
        The page's path.
    """
    import jinja2

    from keras_gradlayer.metrics.scorer import DIRECTIONS, format_conditions
    from keras_gradlayer.serving.metadata import package_versions

    layers = len(step_sizes)
    record = _json(folder / "scores.json", {"scores": [], "conditions": {}})
    rows = list({row["layers"]: row for row in record["scores"]}.values())  # each depth once
    names = [n for n in DIRECTIONS if rows and n in rows[0] and n != "classifier_score_splits"]
    if rows:
        x = [row["layers"] for row in rows]
        pictures.curves(folder / "scores.png", rows, x, names[:2], "layers", mark=layers)
    pictures.log_curves(folder / "flow.png", folder / "log.csv", "epoch", _FLOW)
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_gradlayer.commands", "."),
        autoescape=True,
        trim_blocks=True,
    ).get_template("report.html")
    page = template.render(
        title=f"Gradient layers: {folder.name}",
        lead=_lead(rows, step_sizes),
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


def describe_layers(step_sizes):
    """How many layers there are, and their step sizes, such as "2 gradient layers (η = 0.5)"."""
    sizes = [f"{eta:.4g}" for eta in step_sizes]
    sizes = sizes[:1] if len(set(sizes)) == 1 else sizes
    layers = "1 gradient layer" if len(step_sizes) == 1 else f"{len(step_sizes)} gradient layers"
    return f"{layers} (η = {', '.join(sizes)})" if sizes else layers


def _lead(rows, step_sizes):
    """The run in a sentence."""
    layers = describe_layers(step_sizes)
    kept = next((r for r in rows if r["layers"] == len(step_sizes)), None)
    if not step_sizes or kept is None:
        return f"{layers}."
    first = rows[0]
    gain = 100 * (kept["classifier_score"] / first["classifier_score"] - 1)
    fall = 100 * (kept["frechet_distance"] / first["frechet_distance"] - 1)
    return (
        f"{layers}: classifier score {first['classifier_score']:.3f} to "
        f"{kept['classifier_score']:.3f} ({gain:+.1f}%), Fréchet distance "
        f"{first['frechet_distance']:.2f} to {kept['frechet_distance']:.2f} ({fall:+.1f}%)."
    )


def _embedded(path):
    if not path.exists():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _json(path, default):
    return json.loads(path.read_text()) if path.exists() else default
