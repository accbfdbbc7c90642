"""Peak memory of scoring many images by the command line, beside that of importing the package.

python benchmarks/score_memory.py --model sampler.keras --classifier classifier.keras
"""

import resource
import subprocess
import sys

import click


def peak(*command):
    """The largest resident size of a process and all before it, in GB."""
    subprocess.run([sys.executable, *command], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


@click.command()
@click.option("--model", required=True)
@click.option("--classifier", required=True)
@click.option("--real", default="cifar10:test", show_default=True)
@click.option("--count", default=50_000, show_default=True)
def main(model, classifier, real, count):
    """Print both peaks."""
    imported = peak("-c", "import keras_gradlayer; keras_gradlayer.metrics.Scorer")
    arguments = [model, "--classifier", classifier, "--real", real, "--count", str(count)]
    scored = peak("-m", "keras_gradlayer.commands", "score", *arguments)
    click.echo(f"{count:,} images scored: {scored:.2f} GB at most, {imported:.2f} after importing")


if __name__ == "__main__":
    main()
