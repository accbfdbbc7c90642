"""Algorithm 1 on eight Gaussians, against the same program in PyTorch.

    pip install torch==2.13.0
    python benchmarks/algorithm1.py

100 layers of 50 critic steps each by `FineTuner.fit`, and by a PyTorch loop that carries the same
number of particles along, eager and with its critic step through `torch.compile`. The programs take
turns layer by layer, so that a busy machine slows all. First both are run on the same numbers, and
must have the same losses. Prints PyTorch's time over ours: for all layers with what is compiled
on the way, and by layer after the first (median, 10th to 90th percentile); then how good the
samples of each are.
"""

import click
import keras
import numpy as np
import pytorch
import tensorflow as tf
from timing import now, ratio, timed, use_all_cores

import keras_gradlayer as kgl

BATCH, STDDEV, STEP_SIZE = 50, 0.5, 0.1


class InTurn(keras.callbacks.Callback):
    """Times each epoch, and the calls that take their turn after it."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls
        self.times = {name: [] for name in ("ours", *calls)}

    def on_epoch_begin(self, epoch, logs=None):
        self.start = now()

    def on_epoch_end(self, epoch, logs=None):
        self.times["ours"].append(now() - self.start)
        for name, call in self.calls.items():
            self.times[name].append(timed(call)[0])


class Table(kgl.latents.Gaussian):
    """Not random: the first rows of a table."""

    rows = np.random.default_rng(0).normal(scale=STDDEV, size=(512, 2)).astype("float32")

    def sample_rows(self, seeds):
        # the seeds of particles are numbered in their lower half
        return tf.gather(self.rows, tf.cast(seeds, "int64") % 2**32)


class Halfway(kgl.callbacks.GradientPenalty):
    """The penalty halfway between real and generated samples."""

    def fractions(self, x):
        return tf.fill((x.shape[0], 1), 0.5)


def ours(latent, layers):
    tuner = kgl.FineTuner(
        None, kgl.models.mlp_critic((2,)), STEP_SIZE, latent=latent, max_layers=layers
    )
    tuner.compile(critic_optimizer=keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9))
    return tuner


class Theirs:
    """Algorithm 1 in PyTorch, from the critic that a tuner begins with."""

    def __init__(self, tuner, points, steps, compiled=False, particles=None, fractions=None):
        torch = self.torch = pytorch.load()
        self.points, self.steps = torch.from_numpy(points), steps
        self.critic = pytorch.mlp(tuner.critic)
        self.step = pytorch.critic_step(self.critic, one_sided=True, compiled=compiled)
        if particles is None:
            particles = STDDEV * torch.randn(steps * BATCH, 2)
        self.particles = particles
        self.fractions = fractions or (lambda: torch.rand(BATCH, 1))
        self.history = []

    def layer(self):
        torch = self.torch
        batches, losses = self.order(), []
        for i in range(self.steps):
            with torch.no_grad():
                fake = torch.tanh(self.particles[i * BATCH : (i + 1) * BATCH])
            losses.append(self.step(self.points[next(batches)], fake, self.fractions()))
        self.history.append({k: v.detach().clone() for k, v in self.critic.state_dict().items()})
        self.particles = self.move(self.particles)
        return float(sum(losses)) / self.steps

    def order(self):
        """The rows of each batch, shuffled at each pass over the points."""
        while True:
            rows = self.torch.randperm(len(self.points))
            yield from rows[: len(rows) // BATCH * BATCH].split(BATCH)

    def move(self, z):
        z = z.requires_grad_()
        (gradient,) = self.torch.autograd.grad(self.critic(self.torch.tanh(z)).sum(), z)
        return (z + STEP_SIZE * gradient).detach()

    def samples(self, n):
        z = STDDEV * self.torch.randn(n, 2)
        for state in self.history:
            self.critic.load_state_dict(state)
            z = self.move(z)
        return self.torch.tanh(z).numpy()


def check(compiled):
    """Both programs on the same numbers; how far apart the losses of their critics are."""
    torch, steps = pytorch.load(), 5
    tuner = ours(Table((2,)), layers=2)
    points = np.random.default_rng(1).uniform(-1, 1, (BATCH * steps, 2)).astype("float32")
    particles = torch.from_numpy(Table.rows[: BATCH * steps])
    theirs = Theirs(tuner, points, steps, compiled, particles, lambda: torch.full((BATCH, 1), 0.5))
    theirs.order = lambda: iter(torch.arange(len(points)).split(BATCH))
    history = tuner.fit(
        tf.data.Dataset.from_tensor_slices(points).batch(BATCH),
        epochs=2,
        callbacks=[kgl.callbacks.CriticInnerLoop(steps), Halfway(10.0, one_sided=True)],
        verbose=0,
    )
    losses = history.history["critic_loss"]
    apart = max(abs(theirs.layer() - loss) for loss in losses)
    if apart > 1e-5:
        raise SystemExit(f"The programs differ: losses are up to {apart:.1e} apart, of {losses}")
    return apart


def fit(tuner, layers, steps, *more):
    tuner.fit(
        kgl.data.eight_gaussians().repeat(),
        epochs=layers,
        steps_per_epoch=steps,
        callbacks=[
            kgl.callbacks.CriticInnerLoop(steps),
            kgl.callbacks.GradientPenalty(10.0, one_sided=True),
            *more,
        ],
        verbose=0,
    )


@click.command()
@click.option("--layers", default=100, show_default=True)
@click.option("--steps", default=50, show_default=True, help="Critic steps a layer.")
@click.option("--repeats", default=1, show_default=True)
@click.option("--compile/--no-compile", "compiled", default=True, help="Also torch.compile.")
def main(layers, steps, repeats, compiled):
    """Run the programs in turn and print the ratios."""
    use_all_cores()
    kinds = {"eager": False, **({"torch.compile": True} if compiled else {})}
    for kind, flag in kinds.items():
        click.echo(f"{kind}: losses on the same numbers within {check(flag):.1e} of ours")
    points = np.concatenate(list(kgl.data.eight_gaussians()))
    for seed in range(repeats):
        keras.utils.set_random_seed(seed)
        pytorch.load().manual_seed(seed)
        tuner = ours(kgl.latents.Gaussian((2,), STDDEV), layers)
        programs = {kind: Theirs(tuner, points, steps, flag) for kind, flag in kinds.items()}
        clock = InTurn({kind: program.layer for kind, program in programs.items()})
        start = now()
        fit(tuner, layers, steps, clock)
        whole = now() - start  # all that fit does, less the turns of the others
        times = {name: np.array(taken) for name, taken in clock.times.items()}
        for kind in kinds:
            whole -= times[kind].sum(axis=0)
        for kind in kinds:
            click.echo(
                f"seed {seed}: {kind} / ours: all layers "
                f"{ratio([times[kind].sum(axis=0)], [whole])}, each after the first "
                f"{ratio(times[kind][1:], times['ours'][1:])}"
            )
        latents = tuner.latent.sample(10_000, seed=1)
        found = {"ours": tuner.predict(latents, batch_size=1000, verbose=0)}
        found |= {kind: program.samples(10_000) for kind, program in programs.items()}
        for name, samples in found.items():
            modes = kgl.metrics.mode_coverage(samples, *kgl.data.EIGHT_GAUSSIANS)
            click.echo(
                f"seed {seed}: {name}: {modes.modes} modes, {100 * modes.within:.1f}% of the "
                "samples within 4 stddev"
            )


if __name__ == "__main__":
    main()
