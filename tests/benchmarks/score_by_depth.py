"""Scores of a sampler by the number of gradient layers applied.

Any classifier that gives {"logits", "features"} for images in [-1, 1] will do; scores compare only
within one classifier and one number of samples.

    python tests/benchmarks/score_by_depth.py --sampler sampler.keras --classifier classifier.keras
"""

import click
import keras
import numpy as np

import keras_gradlayer as kgl


@click.command()
@click.option("--sampler", required=True)
@click.option("--classifier", required=True)
@click.option("--data", default="cifar10", show_default=True)
@click.option("--split", default="train[:10000]", show_default=True)
@click.option("--count", default=10_000, show_default=True)
def main(sampler, classifier, data, split, count):
    """Print the classifier score and the Fréchet distance at no, half and all layers."""
    sampler, classifier = keras.saving.load_model(sampler), keras.saving.load_model(classifier)
    real = getattr(kgl.data, data)(split, batch_size=500, shuffle=False)
    features = classifier.predict(real, verbose=0)["features"]
    z = sampler.latent.sample(count, seed=1)
    depth = sampler.stack.depth
    for layers in sorted({0, depth // 2, depth}):
        parts = [sampler(z[i : i + 500], layers=layers) for i in range(0, count, 500)]
        found = classifier.predict(np.concatenate(parts), batch_size=500, verbose=0)
        click.echo(
            f"{layers} layers, {count} samples: classifier score "
            f"{kgl.metrics.classifier_score(found['logits']):.3f}, Fréchet distance to "
            f"{data} {split} {kgl.metrics.frechet_distance(found['features'], features):.3f}"
        )


if __name__ == "__main__":
    main()
