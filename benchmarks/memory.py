"""Peak memory of fine-tuning data of the size of CIFAR-10, beside the documented formula.

    python benchmarks/memory.py

Each row is a process of its own. The first trains as the others do, with next to nothing stored:
its peak is what TensorFlow, the programs and one step's activations take. The formula adds to it

    data + 4 bytes × (particles × size of a position + (max_layers + 2) × size of the critic).

Prints the measured peak, the formula and their ratio.
"""

import resource
import subprocess
import sys

import click

MB = 2**20


def one(images, particles, layers, batch=64, steps=8):
    """Fine-tune for two layers and print the peak, the data's bytes and the critic's size."""
    import numpy as np

    import keras_gradlayer as kgl

    shape = (32, 32, 3)
    tuner = kgl.FineTuner(
        kgl.models.dcgan_generator(shape, width=32),
        kgl.models.dcgan_critic(shape, width=32),
        step_size=0.5,
        insert="top",
        max_layers=layers,
        particles=particles,
    )
    tuner.compile()
    x = np.empty((images, *shape), "float32")
    x[:] = np.linspace(-1, 1, 32)[:, None]
    tuner.fit(
        x,
        batch_size=batch,
        epochs=2,
        steps_per_epoch=steps,
        callbacks=[kgl.callbacks.GradientPenalty(10.0), kgl.callbacks.CriticInnerLoop(steps)],
        verbose=0,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(peak, x.nbytes, tuner.critic.count_params())


def measure(*numbers):
    command = [sys.executable, __file__, "--one", *map(str, numbers)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [int(x) for x in output.split()]


@click.command()
@click.option("--one", "numbers", nargs=3, type=int, help="images, particles, max_layers: one row.")
def main(numbers):
    """Measure each row against the formula."""
    if numbers:
        one(*numbers)
        return
    base = None
    for images, particles, layers in (
        (512, 512, 2),
        (50_000, 512, 2),
        (512, 50_000, 2),
        (512, 512, 200),
        (50_000, 50_000, 100),
    ):
        peak, data, critic = measure(images, particles, layers)
        stored = data + 4 * (particles * 32 * 32 * 3 + layers * critic)
        base = base or peak - stored
        click.echo(
            f"{images:,} images, {particles:,} particles, room for {layers} layers: "
            f"{peak / MB:.0f} MB, formula {(base + stored) / MB:.0f} MB, "
            f"ratio {peak / (base + stored):.3f}"
        )


if __name__ == "__main__":
    main()
