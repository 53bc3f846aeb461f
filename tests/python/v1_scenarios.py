"""What a TF1 program does with `tf.layers`, and what it can see afterwards.

`python v1_scenarios.py tensorflow FOLDER CHECKPOINTS` records it for TF1's layers.
"""

import importlib
import sys

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def library(name):
    """`tf_keras` where that is installed, TensorFlow's own copy of it, or this package's."""
    if name == "ours":
        import conv_transpose_nd as ct

        return ct.compat.v1.layers
    package = "tf_keras.src" if name == "tf_keras" else "tensorflow.python.keras"
    return importlib.import_module(f"{package}.legacy_tf_layers.convolutional")


def x(*shape):
    return tf.constant(np.random.default_rng(0).standard_normal(shape).astype("f"))


def functional(layers):
    outer = layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, strides=2, padding="same")
    return layers.conv2d_transpose(outer, 2, (3, 2), (1, 2), activation=tf.nn.relu)


def valid_and_stride_above_kernel(layers):
    return layers.conv2d_transpose(x(2, 4, 5, 3), 4, 2, strides=(3, 4), use_bias=False)


def three_axes(layers):
    y = layers.conv3d_transpose(x(1, 2, 3, 4, 2), 3, 3, (1, 2, 2), "SAME", name="up")
    return layers.conv3d_transpose(y, 2, 2, activation=tf.nn.tanh)


def channels_first(layers):
    return layers.conv2d_transpose(x(2, 3, 4, 5), 4, 3, 2, "same", data_format="channels_first")


def reuse(layers):
    with v1.variable_scope("net"):
        one = layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="a")
    with v1.variable_scope("net", reuse=True):
        two = layers.conv2d_transpose(2 * x(2, 4, 5, 3), 4, 3, name="a")
    with v1.variable_scope("net"):
        three = layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="a", reuse=True)
        four = layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="b", reuse=v1.AUTO_REUSE)
    return one + two + three + four


def one_object_twice(layers):
    layer = layers.Conv2DTranspose(4, 3, name="twice")
    with v1.variable_scope("net"):
        return layer(x(2, 4, 5, 3)) + layer.apply(x(2, 4, 5, 3))


def default_names(layers):
    y = layers.Conv2DTranspose(3, 1)(layers.Conv2DTranspose(3, 1)(x(1, 2, 3, 3)))
    with v1.variable_scope("net"):
        return layers.conv2d_transpose(layers.conv2d_transpose(y, 3, 1), 3, 1)


def regularized(layers):
    def regularizer(w):
        return 0.5 * tf.reduce_sum(w**2)

    options = {
        "kernel_regularizer": regularizer,
        "bias_regularizer": lambda b: tf.reduce_sum(abs(b)),
        "activity_regularizer": lambda y: tf.reduce_sum(y**2),
        "kernel_initializer": v1.constant_initializer(0.25),
        "bias_initializer": v1.ones_initializer(),
        "kernel_constraint": lambda w: w / 2,
    }
    one = layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="r", **options)
    return one + layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, name="r", reuse=True, **options)


def not_trainable(layers):
    return layers.conv2d_transpose(x(2, 4, 5, 3), 4, 3, trainable=False)


def scope_settings(layers):
    with v1.variable_scope(
        "net",
        initializer=v1.constant_initializer(0.5),
        regularizer=tf.reduce_sum,
        partitioner=v1.fixed_size_partitioner(2),
    ):
        return layers.conv2d_transpose(x(2, 4, 5, 3), 4, 4)


def double(layers):
    return layers.conv2d_transpose(tf.cast(x(2, 4, 5, 3), tf.float64), 4, 3)


SCENARIOS = [
    *(functional, valid_and_stride_above_kernel, three_axes, channels_first, reuse),
    *(one_object_twice, default_names, regularized, not_trainable, scope_settings, double),
]
COLLECTIONS = {
    name: getattr(v1.GraphKeys, name)
    for name in ("GLOBAL_VARIABLES", "TRAINABLE_VARIABLES", "REGULARIZATION_LOSSES", "UPDATE_OPS")
}


def values(rng, shape):
    return rng.standard_normal(shape).astype("f")


def assign_all(session):
    """Values that depend on the variable's name only."""
    for variable in v1.global_variables():
        rng = np.random.default_rng(sum(map(ord, variable.op.name)))
        variable.load(values(rng, variable.shape), session)


def observe(scenario, layers, checkpoint=None, restore=None):
    """Everything a TF1 program can see of a scenario, as arrays and lists of strings."""
    with tf.Graph().as_default(), v1.Session() as session:
        y = scenario(layers)
        seen = {"output": y, "shape": np.array(y.shape.as_list())}
        session.run(v1.global_variables_initializer())
        if restore is None:
            seen["initial_losses"] = session.run(v1.losses.get_regularization_losses())
            assign_all(session)
        else:
            v1.train.Saver().restore(session, restore)
        for name, key in COLLECTIONS.items():
            found = v1.get_collection(key)
            seen[name] = [v.op.name for v in found] if "VARIABLES" in name else [str(len(found))]
        seen["shapes"] = [str(v.shape) for v in v1.global_variables()]
        seen["dtypes"] = [v.dtype.base_dtype.name for v in v1.global_variables()]
        seen["losses"] = session.run(v1.losses.get_regularization_losses())
        seen["output"] = session.run(y)
        if checkpoint is not None:
            v1.train.Saver().save(session, checkpoint, write_meta_graph=False)
    return {key: np.asarray(value) for key, value in seen.items()}


def main(name, folder, checkpoints):
    """Records what `name` does, and with the checkpoints that the other library wrote."""
    layers = library(name)
    for scenario in SCENARIOS:
        path = f"{folder}/{scenario.__name__}"
        np.savez(f"{path}.npz", **observe(scenario, layers, checkpoint=path))
        restored = observe(scenario, layers, restore=f"{checkpoints}/{scenario.__name__}")
        np.savez(f"{path}.restored.npz", **restored)


if __name__ == "__main__":
    main(*sys.argv[1:])
