"""Steps of WGAN-GP with DCGANs on 32x32 images, against PyTorch and against plain Keras.

    pip install torch==2.13.0
    python benchmarks/dcgan_step.py --width 32

Prints the time of each over ours (median and 10th to 90th percentile of rounds in which all take
their turn), for an iteration of five critic steps and a generator step by `fit`, and for each step
alone. PyTorch runs eager and through `torch.compile`, with channels first and last; plain Keras is
a model with a `train_step`, with Keras' default, which is no XLA on a CPU, and with XLA. First all
run on the same numbers, and must give the same losses.
"""

import click
import keras
import numpy as np
import pytorch
import tensorflow as tf
from plain_keras import WGANGP
from timing import interleaved, now, ratio, use_all_cores

import keras_gradlayer as kgl

SHAPE, LATENT, BATCH, STEPS = (32, 32, 3), 128, 64, 5


class Table(kgl.latents.Gaussian):
    """Not random: the first rows of a table."""

    rows = np.random.default_rng(0).normal(size=(BATCH, LATENT)).astype("float32")

    def sample(self, n, seed=None):
        return tf.constant(self.rows)[:n]


class Halfway(kgl.callbacks.GradientPenalty):
    """The penalty halfway between real and generated samples."""

    def fractions(self, x):
        return tf.fill((x.shape[0], 1, 1, 1), 0.5)


class Clock(keras.callbacks.Callback):
    """Time of one epoch: without what `fit` does before and after."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = now()

    def on_epoch_end(self, epoch, logs=None):
        self.time = now() - self.start


def models(width):
    keras.utils.set_random_seed(0)
    return kgl.models.dcgan_generator(SHAPE, LATENT, width), kgl.models.dcgan_critic(SHAPE, width)


def adam():
    return keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9)


class Ours:
    """`GAN.fit`."""

    def __init__(self, width, fixed=False):
        self.gan = kgl.GAN(*models(width), latent=Table((LATENT,)) if fixed else None)
        self.gan.compile()
        penalty = Halfway(10.0) if fixed else kgl.callbacks.GradientPenalty(10.0)
        self.callbacks = [kgl.callbacks.CriticInnerLoop(STEPS), penalty]

    def iterations(self, images, n):
        clock = Clock()
        self.logs = self.gan.fit(
            _dataset(images),
            steps_per_epoch=STEPS * n,
            callbacks=[*self.callbacks, clock],
            verbose=0,
        ).history
        return clock.time

    def steps(self, images):
        """The compiled steps without `fit`, which has run before."""
        batch = tf.constant(images[:BATCH])
        critic = tf.function(self.gan.critic_update, autograph=False)
        generator = tf.function(self.gan.generator_move, autograph=False)
        return lambda: critic(batch), lambda: generator(batch)


class PlainKeras:
    """A Keras model with a `train_step`."""

    def __init__(self, width, jit_compile, fixed=False):
        self.gan = WGANGP(*models(width), LATENT, STEPS)
        if fixed:
            self.gan.latents = lambda n: tf.constant(Table.rows)
            self.gan.fractions = lambda n: tf.fill((BATCH, 1, 1, 1), 0.5)
        self.gan.compile(
            generator_optimizer=adam(), critic_optimizer=adam(), jit_compile=jit_compile
        )

    def iterations(self, images, n):
        clock = Clock()
        self.logs = self.gan.fit(
            _dataset(images), steps_per_epoch=n, callbacks=[clock], verbose=0
        ).history
        return clock.time


class PyTorch:
    """A PyTorch loop."""

    def __init__(self, width, compiled, channels_last, fixed=False):
        torch = self.torch = pytorch.load()
        generator, critic = models(width)
        self.generator = pytorch.dcgan_generator(generator)
        self.critic = pytorch.dcgan_critic(critic)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        for model in (self.generator, self.critic):
            model.to(memory_format=self.format)
        self.fixed = fixed
        self.critic_step = pytorch.critic_step(self.critic, compiled=compiled)
        self.optimizer = pytorch.adam(self.generator)
        self.generate = torch.compile(self.generator) if compiled else self.generator
        self.scores = torch.compile(self.critic) if compiled else self.critic

    def latents(self):
        return self.torch.from_numpy(Table.rows) if self.fixed else self.torch.randn(BATCH, LATENT)

    def fractions(self):
        return (
            0.5 * self.torch.ones(BATCH, 1, 1, 1) if self.fixed else self.torch.rand(BATCH, 1, 1, 1)
        )

    def train_critic(self, real):
        with self.torch.no_grad():
            fake = self.generate(self.latents())
        return self.critic_step(real, fake, self.fractions())

    def train_generator(self):
        loss = -self.scores(self.generate(self.latents())).mean()
        self.optimizer.zero_grad()
        loss.backward(inputs=list(self.generator.parameters()))  # not also the critic's
        self.optimizer.step()
        return loss.detach()

    def batches(self, images):
        return pytorch.images(images).to(memory_format=self.format).split(BATCH)

    def iterations(self, images, n):
        batches = self.batches(images)
        start = now()
        for i in range(n):
            losses = [
                self.train_critic(batches[(STEPS * i + k) % len(batches)]) for k in range(STEPS)
            ]
            generator_loss = self.train_generator()
        self.logs = {
            "critic_loss": [float(sum(losses)) / STEPS],
            "generator_loss": [float(generator_loss)],
        }
        return now() - start

    def steps(self, images):
        batch = self.batches(images)[0]
        return lambda: self.train_critic(batch), self.train_generator


def _dataset(images):
    data = tf.data.Dataset.from_tensor_slices(images).batch(BATCH, drop_remainder=True)
    return data.repeat().prefetch(tf.data.AUTOTUNE)


def check(program, width, images):
    """Three iterations on the same numbers; the largest difference of losses from ours."""
    ours = Ours(width, fixed=True)
    # Plain Keras takes all critic steps on one batch, so all do here.
    same = np.concatenate([images[:BATCH]] * STEPS)
    worst = 0.0
    for _ in range(3):
        for side in (ours, program):
            side.iterations(same, 1)
        names = ["generator_loss"]
        if not isinstance(program, PlainKeras):  # which logs the last step, not the mean
            names.append("critic_loss")
        worst = max(
            worst,
            *(abs(ours.logs[n][0] - program.logs[n][0]) / abs(ours.logs[n][0]) for n in names),
        )
    if worst > 1e-3:
        raise SystemExit(f"The programs differ: losses are up to {worst:.1e} of ours apart")
    return worst


@click.command()
@click.option("--width", default=32, show_default=True)
@click.option("--rounds", default=10, show_default=True)
@click.option("--iterations", default=2, show_default=True, help="Iterations in a round.")
@click.option("--compile/--no-compile", "compiled", default=True, help="Also torch.compile.")
@click.option("--xla/--no-xla", default=True, help="Also plain Keras with XLA.")
def main(width, rounds, iterations, compiled, xla):
    """Check that all do the same, and print the ratios."""
    use_all_cores()
    images = np.random.default_rng(0).uniform(-1, 1, (10 * BATCH, *SHAPE)).astype("float32")
    kinds = {
        "PyTorch eager": lambda **kw: PyTorch(width, False, False, **kw),
        "PyTorch eager, channels last": lambda **kw: PyTorch(width, False, True, **kw),
        "plain Keras": lambda **kw: PlainKeras(width, "auto", **kw),
    }
    if compiled:
        kinds["torch.compile"] = lambda **kw: PyTorch(width, True, False, **kw)
        kinds["torch.compile, channels last"] = lambda **kw: PyTorch(width, True, True, **kw)
    if xla:
        kinds["plain Keras, XLA"] = lambda **kw: PlainKeras(width, True, **kw)
    for kind, make in kinds.items():
        click.echo(f"{kind}: losses within {check(make(fixed=True), width, images):.1e} of ours")

    sides = {"ours": Ours(width), **{kind: make() for kind, make in kinds.items()}}
    times = {name: [] for name in sides}
    for i in range(rounds + 1):
        for name, side in sides.items():
            spent = side.iterations(images, iterations)
            if i == 0:
                click.echo(f"first round of {name}: {spent[0]:.1f} s")
            else:
                times[name].append(spent)
    for kind in kinds:
        click.echo(f"iteration by fit: {kind} / ours {ratio(times[kind], times['ours'])}")

    with_steps = {
        name: side.steps(images) for name, side in sides.items() if hasattr(side, "steps")
    }
    for k, step in enumerate(("critic step", "generator step")):
        spent = interleaved([steps[k] for steps in with_steps.values()], rounds)
        for name, times in zip(with_steps, spent):
            if name != "ours":
                click.echo(f"{step}: {name} / ours {ratio(times, spent[0])}")


if __name__ == "__main__":
    main()
