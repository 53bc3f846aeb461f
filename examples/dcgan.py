"""DCGAN's generator (arXiv:1511.06434) trained with WGAN-GP's gradient penalty (arXiv:1704.00028).

The critic judges every pixel, as a U-Net does (arXiv:2002.12655), so it enlarges, too: its penalty
is the gradient of a gradient of the op.
"""

import keras
import tensorflow as tf

import conv_transpose_nd as ct


def networks(layers=ct.keras.layers):
    """Noise [batch, 1, 1, 16] -> pictures [batch, 16, 16, 1] -> scores of their pixels."""
    up = {"kernel_size": 4, "strides": 2, "padding": "same"}
    first = [layers.Conv2DTranspose(32, 4, use_bias=False), keras.layers.BatchNormalization()]
    second = layers.Conv2DTranspose(16, activation="relu", **up)
    generator = [*first, keras.layers.ReLU(), second]
    generator += [layers.Conv2DTranspose(1, activation="tanh", **up)]
    critic = [keras.layers.Conv2D(16, activation="leaky_relu", **up)]
    critic += [layers.Conv2DTranspose(1, **up)]
    return (
        keras.Sequential([keras.Input([1, 1, 16]), *generator]),
        keras.Sequential([keras.Input([16, 16, 1]), *critic]),
    )


def critic_step(generator, critic, optimizer, real, noise, share):
    """One step of the critic; returns its loss and the mean length of its gradients."""
    fake = generator(noise, training=True)
    between = share * real + (1 - share) * fake
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(between)
            score = tf.reduce_sum(critic(between), axis=[1, 2, 3])
        slopes = tf.norm(tf.reshape(inner.gradient(score, between), [len(real), -1]), axis=1)
        score = tf.reduce_sum(critic(fake) - critic(real), axis=[1, 2, 3])
        loss = tf.reduce_mean(score + 10 * (slopes - 1) ** 2)
    optimizer.apply(tape.gradient(loss, critic.trainable_variables), critic.trainable_variables)
    return loss, tf.reduce_mean(slopes)


def generator_step(generator, critic, optimizer, noise):
    """One step of the generator; returns its loss."""
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.reduce_sum(critic(generator(noise, training=True)), [1, 2, 3]))
    variables = generator.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss


if __name__ == "__main__":
    models, noise, real = networks(), tf.random.normal([8, 1, 1, 16]), tf.ones([8, 16, 16, 1])
    optimizers = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)
    for _ in range(3):
        print(*critic_step(*models, optimizers[0], real, noise, tf.random.uniform([8, 1, 1, 1])))
        print(generator_step(*models, optimizers[1], noise))
