"""WGAN-GP as a Keras user writes it without this package: a model with a `train_step`."""

import keras
import tensorflow as tf


class WGANGP(keras.Model):
    """Each step trains the critic a few times, then the generator once, on one batch."""

    def __init__(self, generator, critic, latent_dim, critic_steps, weight=10.0):
        super().__init__()
        self.generator, self.critic = generator, critic
        self.latent_dim, self.critic_steps, self.weight = latent_dim, critic_steps, weight

    def compile(self, generator_optimizer, critic_optimizer, **kwargs):
        super().compile(**kwargs)
        self.generator_optimizer, self.critic_optimizer = generator_optimizer, critic_optimizer

    def latents(self, n):
        return tf.random.normal((n, self.latent_dim))

    def fractions(self, n):
        return tf.random.uniform((n, 1, 1, 1))

    def penalty(self, real, fake):
        epsilon = self.fractions(tf.shape(real)[0])
        points = epsilon * real + (1 - epsilon) * fake
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = self.critic(points, training=True)
        slopes = tf.sqrt(tf.reduce_sum(tape.gradient(scores, points) ** 2, axis=[1, 2, 3]))
        return self.weight * tf.reduce_mean((slopes - 1.0) ** 2)

    def train_step(self, real):
        n = tf.shape(real)[0]
        for _ in range(self.critic_steps):
            fake = self.generator(self.latents(n), training=True)
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(self.critic(real, training=True))
                value -= tf.reduce_mean(self.critic(fake, training=True))
                critic_loss = self.penalty(real, fake) - value
            variables = self.critic.trainable_variables
            gradients = tape.gradient(critic_loss, variables)
            self.critic_optimizer.apply_gradients(zip(gradients, variables))
        with tf.GradientTape() as tape:
            fake = self.generator(self.latents(n), training=True)
            generator_loss = -tf.reduce_mean(self.critic(fake, training=True))
        variables = self.generator.trainable_variables
        gradients = tape.gradient(generator_loss, variables)
        self.generator_optimizer.apply_gradients(zip(gradients, variables))
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}
