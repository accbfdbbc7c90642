"""`keras-gradlayer train`: a DCGAN from images."""

import inspect

import click
import keras

import keras_gradlayer as kgl
from keras_gradlayer import pictures
from keras_gradlayer.commands.options import BATCH_SIZE, COUNT, POSITIVE, RUN, flag, grouped, option
from keras_gradlayer.commands.runs import open_run
from keras_gradlayer.commands.sources import IMAGES, load_data

METHODS = {
    "wgan-gp": kgl.presets.wgan_gp,
    "wgan": kgl.presets.wgan,
    "dragan": kgl.presets.dragan,
    "ct-gan": kgl.presets.ct_gan,
    "dcgan": kgl.presets.dcgan,
    "hinge": kgl.presets.hinge,
    "least-squares": kgl.presets.least_squares,
    "gradient-regularized": kgl.presets.gradient_regularized,
    "unrolled": kgl.presets.unrolled_gan,
    "dualing": kgl.presets.dualing_gan,
}
CRITICS = {"ct-gan": {"dropout": 0.5}, "hinge": {"spectral_normalization": True}}


@grouped(
    "train",
    inputs=[
        option("--data", f"{', '.join(IMAGES)}, or a folder of images.", required=True),
        option("--image-size", "Size to resize a folder's images to; 32 by default.", type=COUNT),
    ],
    network=[
        option("--width", "Width of the DCGAN.", 64, type=COUNT),
        option("--latent-dim", "Size of the latent vector.", 128, type=COUNT),
    ],
    method=[
        option("--method", "Gives the defaults below.", "wgan-gp", type=click.Choice(METHODS)),
        option("--critic-steps", "Critic updates per generator update.", type=COUNT),
        option("--learning-rate", "Learning rate of both optimizers.", type=POSITIVE),
        option("--penalty", "Weight of the penalty (λ).", type=float),
        flag("--one-sided", "Penalize only gradient norms above 1."),
    ],
    training=[
        option("--iterations", "Generator updates, about 100 an epoch.", 10_000, type=COUNT),
        BATCH_SIZE,
    ],
    run=RUN,
)
def command(inputs, network, method, training, run):
    """Train a GAN on images: generator.keras, critic.keras, curves and samples."""
    if inputs.data in IMAGES and inputs.image_size is not None:
        raise click.UsageError(f"--image-size is for folders of images, not for {inputs.data}.")
    size = inputs.image_size or 32
    shape = IMAGES.get(inputs.data, (size, size, 3))
    keras.utils.set_random_seed(run.seed)
    preset = _preset(**vars(method))
    gan = preset.gan(
        kgl.models.dcgan_generator(shape, network.latent_dim, network.width),
        kgl.models.dcgan_critic(shape, network.width, **CRITICS.get(method.method, {})),
    )
    samples = load_data(inputs.data, training.batch_size, run.seed, shape).repeat()
    opened = open_run(run.out, run.resume, "gan.keras")
    out = opened.folder
    epochs = max(1, training.iterations // 100)
    moves = training.iterations // epochs  # in an epoch
    steps = preset.critic_steps * moves
    opened.fit(gan, samples, epochs, preset.callbacks, steps_per_epoch=steps)
    gan.generator.save(out / "generator.keras")
    gan.critic.save(out / "critic.keras")
    latents = gan.latent.sample(64, seed=run.seed)
    pictures.sample_picture(out / "samples.png", gan.predict(latents, verbose=0))
    pictures.log_curves(out / "curves.png", out / "log.csv", f"{moves} iterations")
    opened.finish(gan, "gan.keras")
    click.echo(f"{moves * epochs} generator updates; generator, critic: {out}")


def _preset(method, **settings):
    """The method's preset, with the settings that were given."""
    settings = {k: v for k, v in settings.items() if v is not None and v is not False}
    for name in settings.keys() - inspect.signature(METHODS[method]).parameters:
        raise click.UsageError(f"--{name.replace('_', '-')} is not for --method {method}.")
    return METHODS[method](**settings)
