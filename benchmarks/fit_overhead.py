"""What `fit` costs beyond one hand-written TensorFlow function that makes the same updates.

    python benchmarks/fit_overhead.py

Prints the time of `fit` over that of the function (median and 10th to 90th percentile, by turns):
for an outer iteration of Algorithm 1 on eight Gaussians, whose function is compiled by XLA, and for
an iteration of WGAN-GP with a DCGAN of width 32. The functions hold a whole iteration, critic steps
and move, so that Python is entered once an iteration. On the same numbers both must give the same
losses.
"""

import algorithm1
import click
import dcgan_step
import keras
import numpy as np
import tensorflow as tf
from timing import now, ratio, use_all_cores

import keras_gradlayer as kgl


def penalty(critic, real, fake, epsilon, one_sided=False):
    points = epsilon * real + (1 - epsilon) * fake
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        scores = critic(points, training=True)
    gradient = tape.gradient(scores, points)
    excess = tf.norm(tf.reshape(gradient, (gradient.shape[0], -1)), axis=1) - 1
    return 10 * tf.reduce_mean(tf.square(tf.nn.relu(excess) if one_sided else excess))


def critic_step(critic, optimizer, real, fake, epsilon, one_sided=False):
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(critic(real, training=True))
        value -= tf.reduce_mean(critic(fake, training=True))
        loss = penalty(critic, real, fake, epsilon, one_sided) - value
    variables = critic.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss


def outer_iteration(critic, points, steps, particles=None, fixed=False):
    """Algorithm 1's outer iteration as one function of nothing; it gives the mean loss."""
    batch, optimizer = algorithm1.BATCH, dcgan_step.adam()
    optimizer.build(critic.trainable_variables)
    if particles is None:
        particles = algorithm1.STDDEV * tf.random.normal((steps * batch, 2))
    particles, points = tf.Variable(particles), tf.constant(points)
    history = [tf.Variable(tf.zeros((200, *v.shape))) for v in critic.trainable_variables]
    depth = tf.Variable(0)

    @tf.function(jit_compile=True, autograph=False)
    def iteration(order, epsilon):
        def step(i, total):
            real = tf.gather(points, order[i])
            fake = tf.tanh(tf.slice(particles, (i * batch, 0), (batch, 2)))
            loss = critic_step(critic, optimizer, real, fake, epsilon[i], one_sided=True)
            return i + 1, total + loss

        _, total = tf.while_loop(lambda i, _: i < steps, step, (0, 0.0))
        with tf.GradientTape() as tape:
            z = particles.value()
            tape.watch(z)
            scores = critic(tf.tanh(z))
        particles.assign_add(algorithm1.STEP_SIZE * tape.gradient(scores, z))
        for h, v in zip(history, critic.trainable_variables):
            h.scatter_update(tf.IndexedSlices(v.value[None], depth[None]))
        depth.assign_add(1)
        return total / steps

    rng = np.random.default_rng(0)

    def run():
        if fixed:
            order, epsilon = np.arange(steps * batch), np.full((steps, batch, 1), 0.5)
        else:
            passes = -(-steps * batch // len(points))
            order = np.concatenate([rng.permutation(len(points)) for _ in range(passes)])
            epsilon = rng.uniform(size=(steps, batch, 1))
        order = order[: steps * batch].reshape(steps, batch)
        return iteration(tf.constant(order), tf.constant(epsilon, "float32"))

    return run


def wgan_gp_iteration(width, fixed=False):
    """Five critic steps and a generator step as one function of the batches."""
    generator, critic = dcgan_step.models(width)
    optimizers = dcgan_step.adam(), dcgan_step.adam()
    for optimizer, model in zip(optimizers, (generator, critic)):
        optimizer.build(model.trainable_variables)
    batch, steps = dcgan_step.BATCH, dcgan_step.STEPS

    def samples():
        rows = dcgan_step.Table.rows
        z = tf.constant(rows) if fixed else tf.random.normal(rows.shape)
        return generator(z, training=True)

    @tf.function(autograph=False)
    def iteration(real):
        total = 0.0
        for i in range(steps):
            epsilon = 0.5 if fixed else tf.random.uniform((batch, 1, 1, 1))
            fake = tf.stop_gradient(samples())
            total += critic_step(critic, optimizers[1], real[i], fake, epsilon)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(critic(samples(), training=True))
        variables = generator.trainable_variables
        optimizers[0].apply(tape.gradient(loss, variables), variables)
        return total / steps, loss

    return iteration


def agree(name, ours, theirs):
    apart = np.max(np.abs(np.subtract(ours, theirs)) / np.abs(ours))
    if apart > 1e-3:
        raise SystemExit(f"{name}: losses are up to {apart:.1e} of ours apart")
    click.echo(f"{name}: losses on the same numbers within {apart:.1e} of ours")


def copy_of(critic):
    copy = keras.models.clone_model(critic)
    copy.set_weights(critic.get_weights())
    return copy


def check_toy():
    steps, batch = 5, algorithm1.BATCH
    tuner = algorithm1.ours(algorithm1.Table((2,)), layers=2)
    points = np.random.default_rng(1).uniform(-1, 1, (batch * steps, 2)).astype("float32")
    particles = algorithm1.Table.rows[: batch * steps]
    by_hand = outer_iteration(copy_of(tuner.critic), points, steps, particles, fixed=True)
    history = tuner.fit(
        tf.data.Dataset.from_tensor_slices(points).batch(batch),
        epochs=2,
        callbacks=[
            kgl.callbacks.CriticInnerLoop(steps),
            algorithm1.Halfway(10.0, one_sided=True),
        ],
        verbose=0,
    )
    agree("toy", history.history["critic_loss"], [float(by_hand()) for _ in range(2)])


def check_images(images):
    ours, by_hand = dcgan_step.Ours(32, fixed=True), wgan_gp_iteration(32, fixed=True)
    for _ in range(2):
        ours.iterations(images.reshape(-1, *dcgan_step.SHAPE), 1)
        losses = by_hand(images)
    logs = [ours.logs[name][0] for name in ("critic_loss", "generator_loss")]
    agree("DCGAN", logs, [float(loss) for loss in losses])


@click.command()
@click.option(
    "--layers",
    default=30,
    show_default=True,
    type=click.IntRange(1),
    help="Outer iterations of the toy.",
)
@click.option("--rounds", default=10, show_default=True, help="Iterations of the DCGAN.")
def main(layers, rounds):
    """Check that both sides do the same, and print the ratios."""
    use_all_cores()
    check_toy()
    keras.utils.set_random_seed(0)
    tuner = algorithm1.ours(kgl.latents.Gaussian((2,), algorithm1.STDDEV), layers)
    points = np.concatenate(list(kgl.data.eight_gaussians()))
    by_hand = outer_iteration(copy_of(tuner.critic), points, 50)
    clock = algorithm1.InTurn({"by hand": lambda: by_hand().numpy()})
    algorithm1.fit(tuner, layers, 50, clock)
    times = clock.times
    click.echo(f"toy: fit / by hand {ratio(times['ours'][2:], times['by hand'][2:])}")

    shape = (dcgan_step.STEPS, dcgan_step.BATCH, *dcgan_step.SHAPE)
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
    rows = images.reshape(-1, *dcgan_step.SHAPE)
    check_images(images)
    ours, by_hand = dcgan_step.Ours(32), wgan_gp_iteration(32)
    times = [], []
    for i in range(rounds + 2):
        spent = ours.iterations(rows, 1)
        start = now()
        by_hand(images)[0].numpy()
        if i > 1:
            times[0].append(spent)
            times[1].append(now() - start)
    click.echo(f"DCGAN of width 32: fit / by hand {ratio(*times)}")


if __name__ == "__main__":
    main()
