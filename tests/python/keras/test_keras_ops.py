"""`ct.keras.ops.conv_transpose`: Keras' values, shapes and errors, eager and symbolic."""

import importlib
import inspect
import itertools

import keras
import keras_cases as cases
import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct

conv_transpose = ct.keras.ops.conv_transpose
GRID = {
    "padding": ("valid", "same"),
    "output_padding": (None, 0, 1, 2),
    "strides": (1, 2, 3),
    "dilation_rate": (1, 2),
    "kernel_size": (1, 2, 3, 4),
    "data_format": ("channels_last", "channels_first"),
}


def outcome(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


def test_signature():
    ours, theirs = map(inspect.signature, (conv_transpose, keras.ops.conv_transpose))
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_grid(rank):
    """Whatever Keras computes is computed, with its values; whatever it rejects is rejected."""
    rng = np.random.default_rng(rank)
    computed = 0
    for values in itertools.product(*GRID.values()):
        call = dict(zip(GRID, values, strict=True))
        first = call["data_format"] == "channels_first"
        x, kernel = cases.operands(rng, rank, call.pop("kernel_size"), first)
        ours = outcome(conv_transpose, x, kernel, **call)
        symbolic = outcome(conv_transpose, keras.KerasTensor(x.shape), kernel, **call)
        stock = outcome(keras.ops.conv_transpose, x, kernel, **call)
        steps = [call["strides"]] * rank, [call["dilation_rate"]] * rank
        defined = cases.expected(
            x, kernel, steps[0], call["padding"], call["output_padding"], first, steps[1]
        )
        if isinstance(ours, Exception):
            assert isinstance(ours, ValueError), call
            assert (type(symbolic), str(symbolic)) == (type(ours), str(ours)), call
            assert "output_padding[0] must be in" in str(ours)
            assert isinstance(stock, Exception), call
            assert defined is None, call
            continue
        computed += 1
        oracle.assert_within(ours, *defined, call)
        oracle.assert_within(stock, np.asarray(ours, np.float64), 2 * defined[1], call)
        assert symbolic.shape == tuple(ours.shape), call
        assert symbolic.dtype == "float32"
    assert computed > 200


def test_options_that_differ_per_axis():
    rng = np.random.default_rng(10)
    x = rng.standard_normal([2, 4, 5, 6, 3]).astype("f")
    kernel = rng.standard_normal([2, 3, 4, 2, 3]).astype("f")
    call = {"strides": [3, 1, 2], "dilation_rate": (2, 1, 3)}
    for padding, output_padding in [
        ("valid", None), ("valid", [2, 0, 1]), ("same", None), ("same", (2, 0, 2)),
    ]:  # fmt: skip
        more = {"padding": padding, "output_padding": output_padding} | call
        ours = conv_transpose(x, kernel, **more)
        stock = keras.ops.conv_transpose(x, kernel, **more)
        # Sums of 2 * 3 * 4 * 3 products and twice the same bound.
        bound = 2 * oracle.bound("float32", 72, conv_transpose(abs(x), abs(kernel), **more).numpy())
        oracle.assert_within(ours, np.asarray(stock, np.float64), bound, more)


@pytest.mark.parametrize("rank", [4, 5, 6])
def test_more_axes_than_keras_has(rank):
    rng = np.random.default_rng(rank)
    x = rng.standard_normal([1, *[2] * (rank - 1), 3, 2]).astype("f")
    kernel = rng.standard_normal([2] * rank + [1, 2]).astype("f")
    y = conv_transpose(x, kernel, 2, "same", output_padding=1)
    defined = cases.expected(x, kernel, [2] * rank, "same", 1, False, [1] * rank)
    oracle.assert_within(y, *defined)
    symbolic = conv_transpose(keras.KerasTensor(x.shape), kernel, 2, "same", output_padding=1)
    assert symbolic.shape == tuple(y.shape)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(dtype):
    rng = np.random.default_rng(20)
    x, kernel = (tf.cast(v, dtype) for v in cases.operands(rng, 2, 3, False))
    y = conv_transpose(x, kernel, 2, "same")
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    oracle.assert_within(
        y, *cases.expected(x.numpy(), kernel.numpy(), [2, 2], "same", None, False, [1, 1])
    )


def test_default_data_format_is_that_of_keras():
    x, kernel = cases.operands(np.random.default_rng(30), 2, 3, True)
    explicit = conv_transpose(x, kernel, 2, data_format="channels_first")
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert np.array_equal(conv_transpose(x, kernel, 2), explicit)
        operation = ct.keras.ops.ConvTranspose(2)
    finally:
        keras.config.set_image_data_format(before)
    # What was built keeps the format of its time.
    assert np.array_equal(operation(x, kernel), explicit)


def test_unknown_dimensions():
    kernel = np.ones([3, 4, 5, 2], "f")
    shape = conv_transpose(keras.KerasTensor([None, None, 7, 2]), kernel, (2, 3), "same").shape
    assert shape == (None, None, 21, 5)
    x, kernel = cases.operands(np.random.default_rng(40), 2, 3, False)

    @tf.function(input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([3, 3, 2, 3])])
    def in_graph(x, kernel):
        y = conv_transpose(x, kernel, 2, output_padding=1)
        assert y.shape.as_list() == [None, None, None, 2]
        return y

    assert np.array_equal(in_graph(x, kernel), conv_transpose(x, kernel, 2, output_padding=1))

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec([None, None, 2, 3])])
    def of_unknown_rank(x, kernel):
        return conv_transpose(x, kernel, 2, "same")

    assert np.array_equal(of_unknown_rank(x, kernel), conv_transpose(x, kernel, 2, "same"))


X, KERNEL = np.ones([1, 4, 4, 3], "f"), np.ones([3, 3, 2, 3], "f")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"strides": 0}, ValueError, "strides must be >= 1, got 0"),
        ({"strides": (2, -1)}, ValueError, r"strides\[1\] must be >= 1, got -1"),
        ({"strides": (2, 2, 2)}, ValueError, "strides must be an int or have 2 values"),
        ({"strides": 1.5}, TypeError, "strides must be an integer, got 1.5"),
        ({"dilation_rate": 0}, ValueError, "dilation_rate must be >= 1, got 0"),
        ({"output_padding": -1}, ValueError, "output_padding must be >= 0, got -1"),
        ({"strides": 2, "output_padding": 2}, ValueError,
         r"output_padding\[0\] must be in \[0, 1\] for strides 2, kernel length 3, .* got 2"),
        ({"strides": 2, "output_padding": (1, 2), "padding": "same"}, ValueError,
         r"output_padding\[1\] must be in \[0, 1\] for strides 2, .* padding 'same', got 2"),
        ({"padding": "full"}, ValueError, "padding must be 'valid' or 'same', got 'full'"),
        ({"padding": None}, ValueError, "padding must be 'valid' or 'same', got None"),
        ({"data_format": "NHWC"}, ValueError, "data_format must be None, 'channels_last' .*NHWC"),
        ({"data_format": "channels_first"}, ValueError,
         r"inputs must have the input channels of kernel, kernel.shape\[-1\] = 3, got 4"),
        ({"kernel": KERNEL[..., :2]}, ValueError, r"kernel.shape\[-1\] = 2, got 3"),
        ({"kernel": KERNEL[0]}, ValueError, "kernel must have rank 4, 2 spatial axes, got shape"),
        ({"inputs": X[0, 0]}, ValueError, r"inputs must have rank N \+ 2 .* got shape \(4, 3\)"),
        ({"kernel": KERNEL.astype("d")}, ValueError,
         "kernel must have the dtype of inputs, float32, got float64"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_in_the_words_of_this_function(arguments, error, words):
    call = {"inputs": X, "kernel": KERNEL} | arguments
    inputs = call.pop("inputs")
    for value in (inputs, keras.KerasTensor(inputs.shape)):
        with pytest.raises(error, match=words):
            conv_transpose(value, **call)


def test_a_functional_model_runs_and_is_saved(tmp_path):
    x, kernel = cases.operands(np.random.default_rng(50), 2, 4, False)
    inputs = keras.Input([None, None, 3])
    outputs = conv_transpose(inputs, kernel, (2, 1), "SAME", output_padding=(1, 1))
    model = keras.Model(inputs, outputs)
    assert outputs.shape == (None, None, None, 2)
    expected = conv_transpose(x, kernel, (2, 1), "same", output_padding=(1, 1))
    assert np.array_equal(model(x), expected)
    model.save(tmp_path / "model.keras")
    assert np.array_equal(keras.models.load_model(tmp_path / "model.keras")(x), expected)


def test_a_kernel_that_is_a_keras_tensor_or_a_variable():
    x, kernel = cases.operands(np.random.default_rng(60), 1, 3, False)
    expected = conv_transpose(x, kernel, 2)
    inputs = keras.Input(batch_shape=x.shape), keras.Input(batch_shape=kernel.shape)
    model = keras.Model(inputs, conv_transpose(*inputs, strides=2))
    assert np.array_equal(model([x, kernel]), expected)
    assert np.array_equal(conv_transpose(x, keras.Variable(kernel), 2), expected)


def gradients(function, x, kernel):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = function(x, kernel, 2, "same", output_padding=1)
    dy = tf.reshape(tf.range(float(tf.size(y))), tf.shape(y))
    return tape.gradient(y, [x, kernel], dy)


def test_gradient():
    x, kernel = map(tf.constant, cases.operands(np.random.default_rng(70), 2, 3, False))
    ours, stock = (gradients(f, x, kernel) for f in (conv_transpose, keras.ops.conv_transpose))
    magnitudes = gradients(conv_transpose, abs(x), abs(kernel))
    # Sums over 3 * 3 taps and 2 channels, and over a batch of 2 and 4 * 5 positions.
    for own, other, magnitude, terms in zip(ours, stock, magnitudes, (18, 40), strict=True):
        bound = 2 * oracle.bound("float32", terms, magnitude.numpy().astype("d"))
        oracle.assert_within(own, other.numpy().astype("d"), bound)


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(
        ImportError, match="needs the TensorFlow backend of Keras, got backend 'jax'"
    ):
        importlib.reload(ct.keras)
