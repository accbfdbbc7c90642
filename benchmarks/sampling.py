"""Sampling through 100 gradient layers, against a loop over 100 saved critics in PyTorch.

    pip install torch==2.13.0
    python benchmarks/sampling.py

Prints PyTorch's time over that of a compiled call of our sampler (median and 10th to 90th
percentile of calls made in turn), for the critic of the toys at two batch sizes, and for DCGANs
with a few layers. PyTorch loops over the critics eager, and through `torch.compile` of one layer.
Both must give the same samples of the same latents.
"""

import click
import keras
import numpy as np
import pytorch
import tensorflow as tf
from timing import interleaved, ratio, use_all_cores

import keras_gradlayer as kgl


def toy(layers):
    return kgl.FineTuner(None, kgl.models.mlp_critic((2,)), 0.1, max_layers=layers), pytorch.mlp


def images(layers):
    generator = kgl.models.dcgan_generator((32, 32, 3), width=32)
    critic = kgl.models.dcgan_critic((32, 32, 3), width=32)
    return kgl.FineTuner(
        generator, critic, 0.5, insert="top", max_layers=layers
    ), pytorch.dcgan_critic


def grow(tuner, layers):
    """Stack critics that differ, and return their weights."""
    rng, critics = np.random.default_rng(0), []
    for _ in range(layers):
        tuner.critic.set_weights(
            [w + 0.01 * rng.normal(size=w.shape) for w in tuner.critic.get_weights()]
        )
        tuner.stack.append()
        critics.append(tuner.critic.get_weights())
    return critics


def pytorch_sampler(tuner, weights, convert, compiled):
    """Latents to samples, by one PyTorch module a layer."""
    torch = pytorch.load()
    critics = []
    for w in weights:
        tuner.critic.set_weights(w)
        critics.append(convert(tuner.critic).requires_grad_(False))
    if tuner.generator is None:
        base = torch.nn.Identity()
    else:
        base = pytorch.dcgan_generator(tuner.generator)[:-1].eval()  # all but the tanh
    eta = tuner.step_size

    def move(critic, z):
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(torch.tanh(z)).sum(), z)
        return (z + eta * gradient).detach()

    if compiled:
        template = critics[0]
        states = [dict(critic.named_parameters()) for critic in critics]

        def scores(z, state):
            return torch.func.functional_call(template, state, (torch.tanh(z),)).sum()

        @torch.compile
        def layer(z, state):
            return z + eta * torch.func.grad(scores)(z, state)

    def sample(latents):
        with torch.no_grad():
            z = base(latents)
            if compiled:
                for state in states:
                    z = layer(z, state)
                return torch.tanh(z)
        for critic in critics:
            z = move(critic, z)
        return torch.tanh(z)

    return sample


@click.command()
@click.option("--layers", default=100, show_default=True)
@click.option("--image-layers", default=6, show_default=True)
@click.option("--repeats", default=30, show_default=True)
@click.option("--compile/--no-compile", "compiled", default=True, help="Also torch.compile.")
def main(layers, image_layers, repeats, compiled):
    """Check that both give the same samples, and print the ratios."""
    use_all_cores()
    keras.utils.set_random_seed(0)
    torch = pytorch.load()
    for name, make, depth in (("toy", toy, layers), ("DCGAN", images, image_layers)):
        tuner, convert = make(depth)
        weights = grow(tuner, depth)
        sampler = tuner.sampler()
        ours = tf.function(sampler, autograph=False, jit_compile=sampler.jit_compile)
        kinds = {"eager": pytorch_sampler(tuner, weights, convert, compiled=False)}
        if compiled:
            kinds["torch.compile"] = pytorch_sampler(tuner, weights, convert, compiled=True)
        for rows in (1, 256):
            z = sampler.latent.sample(rows, seed=0)
            expected, latents = ours(z).numpy(), torch.from_numpy(z.numpy())
            if expected.ndim == 4:
                expected = pytorch.images(expected).numpy()
            for kind, sample in kinds.items():
                apart = np.abs(sample(latents).numpy() - expected).max()
                if apart > 1e-3:
                    raise SystemExit(f"{name}, {kind}: samples are up to {apart:.1e} apart")
            calls = [lambda: ours(z), lambda: sampler.predict(z, batch_size=256, verbose=0)]  # noqa: B023
            calls += [lambda sample=sample: sample(latents) for sample in kinds.values()]  # noqa: B023
            compiled_call, predict, *theirs = interleaved(calls, repeats)
            for kind, times in zip(kinds, theirs):
                click.echo(
                    f"{name}, {depth} layers, {rows} rows: {kind} / compiled call "
                    f"{ratio(times, compiled_call)}, / predict {ratio(times, predict)}"
                )


if __name__ == "__main__":
    main()
