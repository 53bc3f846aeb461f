"""Unmodified programs on this package's op, and on TensorFlow's again afterwards."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import _library

NAMES = ["conv_transpose", "conv1d_transpose", "conv2d_transpose", "conv3d_transpose"]


def dcgan_generator():
    """As in TensorFlow's DCGAN tutorial, with fewer channels."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input([10]),
            layers.Dense(7 * 7 * 16, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Reshape((7, 7, 16)),
            layers.Conv2DTranspose(8, (5, 5), strides=(1, 1), padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(4, (5, 5), strides=(2, 2), padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh"),
        ]
    )


def u_net():
    """As in Keras' segmentation example: strided down, transposed up, with residuals."""
    layers = keras.layers
    inputs = keras.Input([12, 16, 3])
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    skip = x
    x = layers.MaxPooling2D(3, strides=2, padding="same")(
        layers.SeparableConv2D(8, 3, padding="same")(x)
    )
    for filters in (8, 4):
        x = layers.Conv2DTranspose(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        if filters == 8:
            x = layers.concatenate([x, skip])
    return keras.Model(inputs, layers.Conv2D(2, 3, activation="softmax", padding="same")(x))


@pytest.fixture(params=[dcgan_generator, u_net], ids=lambda f: f.__name__)
def model(request):
    # In float64, the models need no bound of their own on how roundings grow: see TOLERANCE.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield request.param()
    keras.config.set_dtype_policy(before)


# Some ten layers, each with sums of at most 2 ** 10 terms; 2 ** 10 more for gains between them.
TOLERANCE = 10 * 2.0**20 * 2.0**-53


def run(model, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=True)
        loss = tf.reduce_mean(
            y * tf.reshape(tf.linspace(tf.cast(-1.0, y.dtype), 1.0, tf.size(y)), tf.shape(y))
        )
    return [y, *tape.gradient(loss, [x, *model.trainable_variables])]


def kinds(model):
    function = tf.function(lambda x: model(x)).get_concrete_function(
        tf.TensorSpec([None, *model.input_shape[1:]], tf.float64)
    )
    return {operation.type for operation in function.graph.get_operations()}


def test_keras_models(model):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal([2, *model.input_shape[1:]]))
    stock = run(model, x)
    assert "ConvTransposeND" not in kinds(model)
    with ct.replace_tensorflow_ops():
        assert "ConvTransposeND" in kinds(model)
        assert "Conv2DBackpropInput" not in kinds(model)
        ours = run(model, x)
        compiled = tf.function(lambda x: run(model, x))(x)
    for results in (ours, compiled):
        for own, other in zip(results, stock, strict=True):
            assert np.max(np.abs(own - other)) < TOLERANCE * max(1, np.max(np.abs(other)))
    assert "ConvTransposeND" not in kinds(model)
    assert "Conv2DBackpropInput" in kinds(model)


@pytest.mark.skipif(not _library.has_xla, reason="built without the XLA library")
def test_keras_layers_are_compiled_with_xla():
    """Keras says of its own layers that XLA compiles them: it must, with this op in them."""
    x = np.random.default_rng(1).standard_normal([4, 5, 5, 3]).astype("f")
    target = np.ones([4, 10, 10, 2], "f")
    losses = []
    for block in (contextlib.nullcontext, ct.replace_tensorflow_ops):
        keras.utils.set_random_seed(5)
        model = keras.Sequential(
            [
                keras.Input([5, 5, 3]),
                keras.layers.Conv2DTranspose(2, 3, 2, "same", activation="elu"),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
        with block():
            losses.append(model.fit(x, target, epochs=3, verbose=0).history["loss"])
    # Three steps, each of sums of up to 800 terms.
    np.testing.assert_allclose(losses[1], losses[0], rtol=3 * 800 * 2.0**-24)


def entry_points():
    modules = [tf.nn, tf.compat.v1.nn, tf.compat.v2.nn]
    return [getattr(module, name) for module in modules for name in NAMES]


def test_call_and_undo():
    before = entry_points()
    replacement = ct.replace_tensorflow_ops()
    try:
        own = [getattr(m, n) for m in (ct.nn, ct.compat.v1.nn, ct.nn) for n in NAMES]
        assert entry_points() == own
        # Again, inside: it has nothing to do, nor to undo.
        with ct.replace_tensorflow_ops():
            assert entry_points() == own
        assert entry_points() == own
    finally:
        replacement.undo()
    assert entry_points() == before
    replacement.undo()
    assert entry_points() == before


def test_an_error_leaves_the_block_as_it_was_before():
    before = entry_points()
    with (
        pytest.raises(ValueError, match="strides must be an int or have 1, 2 or 4 values"),
        ct.replace_tensorflow_ops(),
    ):
        tf.nn.conv2d_transpose(tf.ones([1, 2, 2, 1]), tf.ones([1, 1, 1, 1]), [1, 2, 2, 1], [1] * 5)
    assert entry_points() == before


def test_functions_of_tensorflow_and_keras():
    rng = np.random.default_rng(1)
    x, w = (tf.constant(rng.integers(-4, 5, s), tf.float32) for s in ([2, 4, 3], [3, 2, 3]))
    calls = [
        lambda: tf.nn.conv1d_transpose(x, w, [2, 8, 2], 2),
        lambda: tf.nn.conv_transpose(x, w, [2, 8, 2], 2),
        lambda: tf.compat.v1.nn.conv1d_transpose(x, w, [2, 8, 2], 2),
        lambda: keras.ops.conv_transpose(x, w, 2, "same", output_padding=1),
        lambda: tf.compat.v1.nn.conv2d_transpose(
            value=x[:, None], filter=w[None], output_shape=[2, 1, 8, 2], strides=[1, 1, 2, 1]
        ),
    ]
    for call in calls:
        stock = call()
        with ct.replace_tensorflow_ops():
            graph = tf.function(call).get_concrete_function().graph
            assert "ConvTransposeND" in {op.type for op in graph.get_operations()}
            # Sums of small integers are exact.
            assert np.array_equal(call(), stock)
