"""What an outer iteration of Algorithm 1 costs as the stack grows, with particles and without.

Prints, for eight Gaussians as in the demo, the median time of the last ten outer iterations over
that of the second to the eleventh, and the mode coverage that each way of drawing samples reaches.
The two ways take turns, so that a busy machine slows both. Each ratio is that of the clock, then
that of the CPU time.

    python benchmarks/outer_iteration.py
    python benchmarks/outer_iteration.py --way particles --layers 200
"""

import click
import keras
import numpy as np
from timing import now

import keras_gradlayer as kgl


class Clock(keras.callbacks.Callback):
    """Time of each epoch."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = now()

    def on_epoch_end(self, epoch, logs=None):
        self.times.append(now() - self.start)


def run(particles, layers, seed):
    """Times of the outer iterations, and the coverage of 10,000 samples."""
    keras.utils.set_random_seed(seed)
    tuner = kgl.FineTuner(
        None,
        kgl.models.mlp_critic((2,)),
        step_size=0.1,
        latent=kgl.latents.Gaussian((2,), 0.5),
        max_layers=layers,
        particles=particles,
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    clock = Clock()
    tuner.fit(
        kgl.data.eight_gaussians(seed=seed).repeat(),
        epochs=layers,
        steps_per_epoch=50,
        callbacks=[
            kgl.callbacks.CriticInnerLoop(50),
            kgl.callbacks.GradientPenalty(10.0, one_sided=True),
            clock,
        ],
        verbose=0,
    )
    samples = tuner.predict(tuner.latent.sample(10_000, seed=1), batch_size=1000, verbose=0)
    return clock.times, kgl.metrics.mode_coverage(samples, *kgl.data.EIGHT_GAUSSIANS)


def both(ratio):
    return f"{ratio[0]:.2f} (CPU time {ratio[1]:.2f})"


@click.command()
@click.option("--layers", default=100, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--way", "chosen", type=click.Choice(["particles", "exact"]), help="Only this one.")
def main(layers, seeds, chosen):
    """Run both ways in turn and print the ratios."""
    ways = {"particles": "auto", "exact": None}
    ways = {way: ways[way] for way in ways if chosen in (None, way)}
    ratios, within = {w: [] for w in ways}, {w: [] for w in ways}
    for seed in range(seeds):
        for way, particles in ways.items():
            times, found = run(particles, layers, seed)
            ratios[way].append(np.median(times[-10:], axis=0) / np.median(times[1:11], axis=0))
            within[way].append(100 * found.within)
            click.echo(
                f"seed {seed} {way:9}: late / early outer iteration {both(ratios[way][-1])}; "
                f"{found.modes} modes, {100 * found.shares.min():.1f}-"
                f"{100 * found.shares.max():.1f}% each, {within[way][-1]:.1f}% within 4 stddev"
            )
    for way in ways:
        click.echo(
            f"{way:9}: median ratio {both(np.median(ratios[way], axis=0))}, "
            f"mean coverage {np.mean(within[way]):.1f}%"
        )


if __name__ == "__main__":
    main()
