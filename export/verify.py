"""Say what of a SavedModel would break under TensorFlow Serving.

python export/verify.py models/sampler
"""

import click

import keras_gradlayer as kgl
from keras_gradlayer.commands import console


@click.command()
@click.argument("folder")
def main(folder):
    """Say what of a SavedModel would break under TensorFlow Serving; exit status 1 if anything."""
    findings = kgl.serving.verify(folder)
    for finding in findings:
        click.echo(f"{'BREAKS' if finding.breaks else 'note'}: {finding.message}")
    if not any(finding.breaks for finding in findings):
        click.echo(f"{folder}: ready to serve")
    return int(any(finding.breaks for finding in findings))


if __name__ == "__main__":
    console.run(main)
