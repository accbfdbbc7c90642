"""The table of docs/ANY_GAN.md: GANs of many kinds before and after `keras-gradlayer finetune`.

Each model of train.py is handed over by the command line, with no options but the data and the
classifier, once for each seed. What stands in the JSON file is left as it is, so that the study can
be stopped and gone on with.

    python benchmarks/any_gan/table.py --models zoo --classifiers eval --runs runs/any_gan
"""

import json
import pathlib
import subprocess
import sys
import time

import click
import keras
import numpy as np
from data import images

import keras_gradlayer as kgl

RESULTS = pathlib.Path("docs/results/any_gan.json")
PAGE = pathlib.Path("docs/ANY_GAN.md")
BEGIN, END = "<!-- begin table -->", "<!-- end table -->"
CLASSIFIERS = {"mnist": "mnist_cnn.keras", "cifar10": "cifar10_resnet56.keras"}
KINDS = {  # what it is, and the images that it is of; data of its own without
    "dcgan": ("DCGAN: cross entropy, sigmoid, batch normalization in both", "mnist"),
    "dcgan_cifar10": ("the same", "cifar10"),
    "hinge": ("hinge loss, spectral normalization", "mnist"),
    "least_squares": ("least squares, batch normalization in both", "mnist"),
    "wgan": ("WGAN: clipped weights", "mnist"),
    "mlp": ("dense layers, sigmoid, dropout, images in [0, 1]", "mnist"),
    "conditional": ("conditional DCGAN: sigmoid, dropout", "mnist"),
    "conditional_cifar10": ("conditional DCGAN: logits, dropout", "cifar10"),
    "acgan": ("AC-GAN", "mnist"),
    "pix2pix": ("pix2pix: lower halves of digits from upper halves", None),
    "series": ("series of 64 values: 1-D convolutions, sigmoid", None),
    "table": ("table of three numbers and two categories", None),
}
CONDITIONAL = {"conditional", "conditional_cifar10", "acgan"}
FOLDER = click.Path(path_type=pathlib.Path)


@click.command()
@click.option("--models", type=FOLDER, required=True, help="Holds a folder KIND-seed0 a kind.")
@click.option("--classifiers", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True, help="Where finetune writes to.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="All by default.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--count", default=10_000, show_default=True, help="Samples to score here.")
@click.option("--retry", is_flag=True, help="Run again what was refused.")
@click.argument("options", nargs=-1)
def main(models, classifiers, runs, kinds, seeds, count, retry, options):
    """Make the table. OPTIONS, after --, are passed on to finetune; the table has none."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for seed in range(seeds + 1):  # 0: before; all kinds once before any twice
        for kind in kinds or KINDS:
            folder, out = models / f"{kind}-seed0", runs / f"{kind}-{seed}"
            entry = results.setdefault(kind, {"count": count, "runs": {}})
            known = entry["runs"].get(str(seed))
            if seed == 0 and "before" not in entry:
                model = keras.saving.load_model(folder / "generator.keras", compile=False)
                entry["training"] = json.loads((folder / "training.json").read_text())
                entry["before"] = judge(kind, folder, classifiers, count, model)
                print(kind, entry["before"], flush=True)
            elif seed and (known is None or (retry and "refused" in known)):
                run = finetune(kind, folder, classifiers, out, seed, options)
                if "refused" not in run:
                    model = keras.saving.load_model(out / "sampler.keras", compile=False)
                    run["step_sizes"] = model.step_sizes.tolist()
                    run["after"] = judge(kind, folder, classifiers, entry["count"], model)
                entry["runs"][str(seed)] = run
                print(kind, seed, run, flush=True)
            else:
                continue
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_page(results)


def finetune(kind, folder, classifiers, out, seed, options):
    """Run the command line: its minutes and last line, or the line that it refuses with."""
    data = KINDS[kind][1]
    arguments = ["--generator", folder / "generator.keras", "--critic", folder / "critic.keras"]
    own = folder / ("train.npz" if kind == "pix2pix" else "train.npy")
    arguments += ["--data", data or own]
    if kind == "acgan":
        arguments += ["--critic-output", "validity"]
    if data:
        arguments += ["--classifier", classifiers / CLASSIFIERS[data]]
    arguments += ["--out", out, "--seed", seed, *options]
    if (out / "run.json").exists() and not (out / "tuner.keras").exists():
        arguments.append("--resume")
    command = [sys.executable, "-m", "keras_gradlayer.commands", "finetune", *arguments]
    log = out.with_name(f"{out.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    status = 0
    if not (out / "tuner.keras").exists():  # else it had been killed before it was judged
        with log.open("a") as file:
            status = subprocess.run(list(map(str, command)), stdout=file, stderr=file).returncode
    lines = [line for line in log.read_text().splitlines() if line.strip()] or [""]
    minutes = (time.monotonic() - start) / 60
    return {"refused" if status else "said": lines[-1].split(";")[0], "minutes": minutes}


def judge(kind, folder, classifiers, count, model):
    """Scores of a generator or a sampler, from latents that no run has seen."""
    data = "mnist" if kind == "pix2pix" else KINDS[kind][1]
    if not data:
        samples = draw(model, count)
        real = np.load(folder / "held_out.npy")[:count]
        return {"sliced_wasserstein": kgl.metrics.sliced_wasserstein(real, samples)}
    real, classes = images(data, "test")
    if kind == "pix2pix":  # whole digits: real upper halves, with the lower halves drawn to them
        upper = real[:count, :14]
        samples = np.concatenate([upper, draw(model, count, upper)], axis=1)
    else:
        samples = draw(model, count, classes[:count, None] if kind in CONDITIONAL else None)
    if samples.min() >= 0:
        samples = 2 * samples - 1
    scores = kgl.metrics.Scorer(classifiers / CLASSIFIERS[data], real, count)(samples).scores
    return {name: scores[name] for name in ("classifier_score", "frechet_distance")}


def draw(model, count, condition=None):
    """Samples of a generator or a sampler, of these conditions."""
    inputs = [] if condition is None else [condition]
    if isinstance(model, kgl.Sampler):
        inputs = [model.latent.sample(count, seed=1000).numpy(), *inputs]
    elif len(model.inputs) > len(inputs):
        latent = kgl.latents.Gaussian(model.inputs[0].shape[1:])
        inputs = [latent.sample(count, seed=1000).numpy(), *inputs]
    return model.predict(inputs if len(inputs) > 1 else inputs[0], batch_size=250, verbose=0)


def write_page(results):
    """Put the table into the page."""
    heads = "kind", "data", "classifier score", "after", "Fréchet distance", "after"
    heads += "layers", "minutes", ""
    rows = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    rows += [row(kind, results[kind]) for kind in KINDS if results.get(kind, {}).get("runs")]
    start, end = (PAGE.read_text().partition(BEGIN)[0], PAGE.read_text().partition(END)[2])
    PAGE.write_text(start + "\n".join([BEGIN, *rows, END]) + end)


def row(kind, entry):
    """A row of the table: before, and the mean and range over seeds after."""
    name, data = KINDS[kind]
    before, runs = entry["before"], list(entry["runs"].values())
    done = [run for run in runs if "after" in run]
    data = data or ("mnist" if kind == "pix2pix" else "its own")
    if not done:
        return f"| {name} | {data} |" + " |" * 6 + f" refused: {runs[0]['refused']} |"
    cells = [name, data]
    for key in ("classifier_score", "frechet_distance"):
        # In the place of the Fréchet distance: it, too, is better when lower.
        key = "sliced_wasserstein" if "sliced_wasserstein" in before else key
        if key == "sliced_wasserstein" and len(cells) == 2:
            cells += ["-", "-"]
            continue
        after = [run["after"][key] for run in done]
        cells.append(f"{before[key]:.4g}" + (" (SW)" if key == "sliced_wasserstein" else ""))
        spread = f" ({min(after):.4g} to {max(after):.4g})" if len(after) > 1 else ""
        cells.append(f"{np.mean(after):.4g}{spread}")
    gain = before[key] - np.array(after)
    spread = np.ptp(gain)
    verdict = (
        "as it was" if abs(gain.mean()) <= spread else "better" if gain.mean() > 0 else "worse"
    )
    if len(done) == 1:
        verdict += ", one seed"
    cells.append(", ".join(str(len(run["step_sizes"])) for run in done))
    cells.append(f"{np.mean([run['minutes'] for run in done]):.1f}")
    return f"| {' | '.join([*cells, verdict])} |"


if __name__ == "__main__":
    main()
