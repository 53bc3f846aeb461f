"""Trains a small generator under a strategy of tf.distribute and prints its losses.

    distribute_child.py mirrored        two devices of one process
    distribute_child.py multi_worker    one of several processes, as TF_CONFIG says

Every replica sees its part of one batch; `train(None)` sees the whole.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

import conv_transpose_nd as ct

BATCH, STEPS, RATE = 4, 4, 0.5


def data():
    """Latent vectors, and the pictures that they shall become. In float64: see the test."""
    rng = np.random.default_rng(11)
    return rng.standard_normal([BATCH, 3, 3, 5]), np.tanh(rng.standard_normal([BATCH, 12, 12, 2]))


def variables():
    rng = np.random.default_rng(12)
    shapes = [4, 4, 6, 5], [6], [4, 4, 2, 6], [2]
    return [tf.Variable(0.3 * rng.standard_normal(shape)) for shape in shapes]


def generate(z, weights):
    w, b, v, c = weights
    h = ct.conv_transpose_nd(z, w, strides=2, bias=b, activation="leaky_relu")
    return ct.conv_transpose_nd(h, v, strides=2, bias=c, activation="tanh")


def step(z, target, weights):
    """One replica's share of the loss over the whole batch, and of its gradients."""
    with tf.GradientTape() as tape:
        error = tf.reduce_mean((generate(z, weights) - target) ** 2, [1, 2, 3])
        loss = tf.reduce_sum(error) / BATCH
    return loss, tape.gradient(loss, weights)


def train(strategy):
    """The losses of STEPS steps of gradient descent, and the sum of squares of the last weights."""
    z, target = data()
    if strategy is None:
        weights, losses = variables(), []
        for _ in range(STEPS):
            loss, gradients = step(z, target, weights)
            for w, g in zip(weights, gradients, strict=True):
                w.assign_sub(RATE * g)
            losses.append(float(loss))
    else:
        losses, weights = _train_together(strategy, z, target)
    return [*losses, sum(float(tf.reduce_sum(w**2)) for w in weights)]


def _train_together(strategy, z, target):
    with strategy.scope():
        weights = variables()

    def replica(z, target):
        loss, gradients = step(z, target, weights)
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        for w, g in zip(weights, gradients, strict=True):
            w.assign_sub(RATE * g)
        return loss

    @tf.function
    def together(z, target):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica, (z, target)), None)

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = tf.data.Dataset.from_tensor_slices((z, target)).batch(BATCH).repeat(STEPS)
    batches = strategy.experimental_distribute_dataset(batches.with_options(options))
    return [float(together(*batch)) for batch in batches], weights


def fit(strategy):
    """The losses of Keras' own training of the layers, in float32."""
    z, target = data()
    with strategy.scope() if strategy else contextlib.nullcontext():
        layer = ct.keras.layers.Conv2DTranspose
        model = keras.Sequential(
            [
                keras.Input(z.shape[1:]),
                layer(6, 4, 2, "same", activation="leaky_relu"),
                layer(2, 4, 2, "same", activation="tanh"),
            ]
        )
        model.compile(keras.optimizers.SGD(RATE), "mse")
    model.set_weights([w.numpy() for w in variables()])
    history = model.fit(z, target, batch_size=BATCH, epochs=STEPS, shuffle=False, verbose=0)
    return history.history["loss"]


def main(kind):
    if kind == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        half = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [half, half])
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    losses = {"train": train(strategy)}
    if kind == "mirrored":
        losses["fit"] = fit(strategy)
    print(json.dumps(losses))


if __name__ == "__main__":
    main(sys.argv[1])
