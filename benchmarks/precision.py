"""Half precision on eight Gaussians: WGAN-GP and gradient layers under Keras' mixed policies.

    python benchmarks/precision.py --seeds 3

Prints, for each policy and seed, the share of 10,000 samples within 4 stddev of a mode and the
modes found, and for float16 where the loss scale ended and how many critic updates it skipped.
"""

import click
import keras
import numpy as np

import keras_gradlayer as kgl

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def fine_tune(layers):
    """Algorithm 1 from noise."""
    tuner = kgl.FineTuner(
        None,
        kgl.models.mlp_critic((2,)),
        step_size=0.1,
        latent=kgl.latents.Gaussian((2,), 0.5),
        max_layers=layers,
    )
    tuner.compile()
    tuner.fit(
        kgl.data.eight_gaussians().repeat(),
        epochs=layers,
        steps_per_epoch=50,
        callbacks=[
            kgl.callbacks.CriticInnerLoop(50),
            kgl.callbacks.GradientPenalty(10.0, one_sided=True),
        ],
        verbose=0,
    )
    return tuner, layers * 50


def wgan_gp(layers):
    """WGAN-GP, for as many critic updates."""
    generator = keras.Sequential(
        [
            keras.layers.Input((2,)),
            *(keras.layers.Dense(128, "relu") for _ in range(3)),
            keras.layers.Dense(2, dtype="float32"),
        ]
    )
    preset = kgl.presets.wgan_gp()
    gan = kgl.GAN(generator, kgl.models.mlp_critic((2,)), preset.objective)
    gan.compile(
        generator_optimizer=preset.generator_optimizer, critic_optimizer=preset.critic_optimizer
    )
    gan.fit(
        kgl.data.eight_gaussians().repeat(),
        epochs=1,
        steps_per_epoch=layers * 50,
        callbacks=[kgl.callbacks.CriticInnerLoop(5), kgl.callbacks.GradientPenalty(0.1)],
        verbose=0,
    )
    return gan, layers * 50


@click.command()
@click.option("--layers", default=100, show_default=True)
@click.option("--seeds", default=1, show_default=True)
def main(layers, seeds):
    """Run both under each policy."""
    for train in (fine_tune, wgan_gp):
        for policy in POLICIES:
            found = []
            for seed in range(seeds):
                keras.utils.set_random_seed(seed)
                keras.config.set_dtype_policy(policy)
                model, updates = train(layers)
                samples = model.predict(model.latent.sample(10_000, seed=1), 1000, verbose=0)
                modes = kgl.metrics.mode_coverage(samples, *kgl.data.EIGHT_GAUSSIANS)
                line = f"{100 * modes.within:.1f}% in {modes.modes} modes"
                optimizer = model.critic_optimizer
                if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                    skipped = updates - int(optimizer.inner_optimizer.iterations)
                    scale = float(np.asarray(optimizer.dynamic_scale))
                    line += f" (scale {scale:g}, {skipped} skipped)"
                found.append(line)
            click.echo(f"{train.__name__}, {policy}: {'; '.join(found)}")
    keras.config.set_dtype_policy("float32")


if __name__ == "__main__":
    main()
