"""What fraction of the machine's peak the training steps reach.

    python benchmarks/peak.py

The peak is what a large matrix product and a large convolution reach in the same run on the same
threads. Prints the floating-point operations that the mathematics of a step needs, for each second
(median, 10th to 90th percentile), over those of the faster of the two: for the critic's step of
WGAN-GP with DCGANs of width 32 and 64, and for a critic's step of Algorithm 1 on the toys by `fit`.
"""

import click
import dcgan_step
import keras
import numpy as np
import tensorflow as tf
from algorithm1 import BATCH, STDDEV, InTurn, fit, ours
from timing import interleaved, ratio, use_all_cores

import keras_gradlayer as kgl


def layer_flops(model):
    """Operations of one sample in each dense or convolutional layer, from the first."""
    flops = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):
            flops.append(2 * np.prod(layer.kernel.shape) * np.prod(layer.input.shape[1:3]))
        elif isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
            outputs = layer.output.shape[1:-1]
            flops.append(2 * np.prod(layer.kernel.shape) * np.prod(outputs, dtype=float))
    return np.array(flops, float)


def critic_step_flops(critic, batch):
    """Of the critic's step without making the samples, each product counted once.

    Scores and gradient for real and generated samples: forward, and back to the weights and to
    the inputs of all layers but the first. Penalty: forward and back to the image; then its own
    gradient, a forward pass and the products with the weights' shapes. Piecewise linear critics
    have no more.
    """
    layers = layer_flops(critic)
    whole, first = layers.sum(), layers[0]
    return batch * (2 * (3 * whole - first) + 2 * whole + 2 * whole)


def of_peak(flops, times, peaks):
    """Operations for each second over the faster of the two at their peak, as text."""
    peak_flops, peak_times = min(peaks, key=lambda p: np.median(p[1], axis=0)[0] / p[0])
    return ratio(np.array(peak_times) / peak_flops, np.array(times) / flops)


@click.command()
@click.option("--repeats", default=20, show_default=True)
def main(repeats):
    """Time the steps and the peak in turn."""
    use_all_cores()
    n, c = 1536, 64
    a, image = tf.random.normal((n, n)), tf.random.normal((64, 32, 32, c))
    kernel = tf.random.normal((3, 3, c, c))
    product = tf.function(lambda: tf.matmul(a, a), autograph=False)
    conv = tf.function(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"), autograph=False)
    peak_flops = 2 * n**3, 2 * 64 * 32 * 32 * 9 * c * c
    images = np.random.default_rng(0).uniform(-1, 1, (640, 32, 32, 3)).astype("float32")
    for width in (32, 64):
        side = dcgan_step.Ours(width)
        side.iterations(images, 1)
        step, _ = side.steps(images)
        flops = critic_step_flops(side.gan.critic, dcgan_step.BATCH)
        flops += dcgan_step.BATCH * layer_flops(side.gan.generator).sum()  # its samples
        times, *peaks = interleaved([step, product, conv], repeats)
        share = of_peak(flops, times, list(zip(peak_flops, peaks)))
        click.echo(f"DCGAN of width {width}, critic step: {share} of the peak")

    steps, layers = 50, repeats + 2
    tuner = ours(kgl.latents.Gaussian((2,), STDDEV), layers)
    clock = InTurn({"product": product, "conv": conv})
    fit(tuner, layers, steps, clock)
    peaks = [clock.times["product"][2:], clock.times["conv"][2:]]
    flops = steps * critic_step_flops(tuner.critic, BATCH)
    share = of_peak(flops, clock.times["ours"][2:], list(zip(peak_flops, peaks)))
    click.echo(f"toy, outer iteration by fit: {share} of the peak")


if __name__ == "__main__":
    main()
