"""Values of the op: against its definition everywhere, and against tf.nn where TensorFlow runs."""

import math

import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct

# In NumPy: TensorFlow holds the slope of leaky_relu and a factor of gelu_tanh in float32.
ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "leaky_relu": lambda z: np.where(z < 0, 0.2 * z, z),
    "elu": lambda z: np.where(z < 0, np.expm1(np.minimum(z, 0)), z),
    "gelu": lambda z: 0.5 * z * (1 + np.vectorize(math.erf)(z * math.sqrt(0.5))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "silu": lambda z: z / (1 + np.exp(-z)),
}
STOCK = {1: tf.nn.conv1d_transpose, 2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}
OURS = {
    1: ct.nn.conv1d_transpose,
    2: ct.nn.conv2d_transpose,
    3: ct.nn.conv3d_transpose,
}
FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def run(case, x, w, **more):
    return ct.conv_transpose_nd(x, w, case.output_shape, **case.tf_attributes(), **more)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_against_definition_and_tensorflow(rank):
    rng = np.random.default_rng(rank)
    compared = 0
    for number in range(200):
        case = oracle.random_case(rng, rank)
        x, w = oracle.random_operands(rng, case)
        exact, bound = oracle.expected(case, x, w)
        oracle.assert_within(run(case, x, w), exact, bound, (number, case))
        if case.padding not in ("SAME", "VALID") or case.groups > 1:
            continue
        # Dilation and channels-first formats need oneDNN in TensorFlow, which has them in float32.
        compared += 1
        arguments = {
            "strides": case.strides,
            "padding": case.padding,
            "data_format": (FIRST if case.channels_first else LAST)[rank],
            "dilations": case.dilations,
        }
        ours = OURS[rank](x, w, case.output_shape, **arguments)
        stock = STOCK[rank](x, w, case.output_shape, **arguments)
        oracle.assert_within(ours, np.asarray(stock, np.float64), 2 * bound, (number, case))
        generic = ct.nn.conv_transpose(x, w, case.output_shape, **arguments)
        assert np.array_equal(ours, generic)
    assert compared >= 20


def test_explicit_padding_against_tensorflow():
    rng = np.random.default_rng(4)
    for number in range(50):
        case = oracle.random_case(
            rng, 2, dense=True, channels_first=False, groups=1, padding="EXPLICIT"
        )
        x, w = oracle.random_operands(rng, case)
        _, bound = oracle.expected(case, x, w)
        pads = [[0, 0], *map(list, case.padding), [0, 0]]
        ours = ct.nn.conv2d_transpose(x, w, case.output_shape, case.strides, pads)
        stock = tf.nn.conv2d_transpose(x, w, case.output_shape, case.strides, pads)
        oracle.assert_within(ours, np.asarray(stock, np.float64), 2 * bound, (number, case))


def with_unknown_shapes(case):
    operand = tf.TensorSpec([None] * (case.rank + 2))

    @tf.function(input_signature=[operand, operand, tf.TensorSpec([None], tf.int32)])
    def function(x, w, shape):
        return ct.conv_transpose_nd(x, w, shape, **case.tf_attributes())

    return function


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_in_function_with_unknown_shapes(rank):
    rng = np.random.default_rng(10 + rank)
    for number in range(12):
        case = oracle.random_case(rng, rank)
        x, w = oracle.random_operands(rng, case)
        eager = run(case, x, w)
        traced = with_unknown_shapes(case)(x, w, case.output_shape)
        assert np.array_equal(traced, eager), (number, case)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32"])
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 6])
def test_dtypes_and_ranks(rank, dtype):
    rng = np.random.default_rng([rank, len(dtype)])
    for number in range(15):
        case = oracle.random_case(rng, rank)
        x, w = oracle.random_operands(rng, case, dtype)
        exact, bound = oracle.expected(case, x, w)
        result = run(case, x, w)
        assert result.dtype == tf.as_dtype(x.dtype)
        oracle.assert_within(result, exact, bound, (number, case))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_and_bias(activation, dtype):
    rng = np.random.default_rng(len(activation))
    for number in range(8):
        case = oracle.random_case(rng, 1 + number % 3)
        x, w = oracle.random_operands(rng, case, dtype)
        channels = case.output_shape[1 if case.channels_first else -1]
        bias = rng.standard_normal(channels).astype(x.dtype)
        exact, bound = oracle.expected(case, x, w, bias)
        # The argument of the activation is a sum, not yet stored; no slope exceeds 1.13 (gelu). Of
        # the exponentials, 4 roundings of values up to max(|z|, 1) may add up.
        result = ACTIVATIONS[activation](exact)
        own = 4 * oracle.SUM[dtype] * np.maximum(np.abs(exact), 1) + oracle.STORE[dtype] * np.abs(
            result
        )
        actual = run(case, x, w, bias=bias, activation=activation)
        oracle.assert_within(actual, result, 1.13 * bound + own, (number, case))


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_activation_of_integers(activation):
    rng = np.random.default_rng(5)
    case = oracle.random_case(rng, 2)
    x, w = oracle.random_operands(rng, case, "int32")
    expected = ACTIVATIONS[activation](run(case, x, w).numpy())
    assert np.array_equal(run(case, x, w, activation=activation), expected)


def test_groups_are_separate_calls():
    rng = np.random.default_rng(6)
    case = oracle.random_case(rng, 2, channels_first=False, groups=3)
    x, w = oracle.random_operands(rng, case)
    parts = zip(np.split(x, 3, -1), np.split(w, 3, -1), strict=True)
    shape = [*case.output_shape[:-1], case.filter_shape[2]]
    attributes = case.tf_attributes() | {"groups": 1}
    separate = [ct.conv_transpose_nd(a, b, shape, **attributes) for a, b in parts]
    _, bound = oracle.expected(case, x, w)
    exact = np.concatenate([np.asarray(v, np.float64) for v in separate], -1)
    oracle.assert_within(run(case, x, w), exact, 2 * bound)


INFERRED = [
    # input length, filter length, stride, dilation, padding, output_padding, output length
    (5, 3, 2, 1, "SAME", None, 10),
    (5, 3, 2, 1, "SAME_LOWER", None, 10),
    (5, 3, 2, 1, "SAME", 0, 9),
    (5, 3, 2, 1, "SAME", 1, 10),
    (5, 4, 3, 1, "SAME", 2, 14),
    (5, 3, 2, 3, "VALID", None, 15),
    (5, 3, 2, 1, "VALID", 1, 12),
    (5, 2, 3, 1, "VALID", None, 14),
    (5, 3, 2, 1, [(1, 0)], None, 10),
    (5, 3, 2, 1, [(1, 2)], 1, 9),
    (0, 3, 2, 1, "SAME", None, 0),
]


@pytest.mark.parametrize(("n", "k", "s", "d", "padding", "extra", "length"), INFERRED)
def test_inferred_output_shape(n, k, s, d, padding, extra, length):
    x, w = tf.ones([2, n, 3]), tf.ones([k, 4, 3])
    arguments = {"strides": s, "padding": padding, "dilations": d}
    inferred = ct.conv_transpose_nd(x, w, output_padding=extra, **arguments)
    assert inferred.shape == [2, length, 4]
    given = ct.conv_transpose_nd(x, w, [2, length, 4], **arguments)
    assert np.array_equal(inferred, given)


SHAPES = {
    "list": [1, 8, 8, 2],
    "tuple": (1, 8, 8, 2),
    "TensorShape": tf.TensorShape([1, 8, 8, 2]),
    "int64 array": np.array([1, 8, 8, 2]),
    "uint8 array": np.array([1, 8, 8, 2], np.uint8),
    "NumPy scalars": [np.int64(1), np.int32(8), 8, 2],
    "range": range(1, 5),
    "int32 tensor": tf.constant([1, 8, 8, 2]),
    "int64 tensor": tf.constant([1, 8, 8, 2], tf.int64),
    "variable": tf.Variable([1, 8, 8, 2]),
    "list with a tensor": [tf.constant(1), 8, 8, 2],
    "list with int64": [tf.constant(1, tf.int64), 8, tf.constant(8), np.int64(2)],
}


@pytest.mark.parametrize("form", SHAPES)
def test_forms_of_output_shape(form):
    shape = SHAPES[form]
    if form == "range":
        x, w = tf.ones([1, 2, 3, 5]), tf.ones([1, 1, 4, 5])
        result, expected = ct.nn.conv2d_transpose(x, w, shape, 1), [1, 2, 3, 4]
    else:
        x, w = tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 2, 3])
        result, expected = ct.nn.conv2d_transpose(x, w, shape, 2), [1, 8, 8, 2]
        assert np.array_equal(ct.nn.conv_transpose(x, w, shape, 2), result)
    assert result.shape == expected


def _f16(v):
    return tf.constant(v, tf.float16)


OPERANDS = {
    "variables": (tf.Variable, tf.Variable, "float32"),
    "lists": (np.ndarray.tolist, np.ndarray.tolist, "float32"),
    "double array, float array": (np.float64, np.float32, "float32"),
    "float array, double array": (np.float32, np.float64, "float64"),
    "list, double array": (np.ndarray.tolist, np.float64, "float64"),
    "list, half tensor": (np.ndarray.tolist, _f16, "float16"),
    "half tensor, list": (_f16, np.ndarray.tolist, "float16"),
    "half tensor, float array": (_f16, np.float32, "float16"),
    "half array, float tensor": (np.float16, tf.constant, "float32"),
    "int array, float array": (np.int32, np.float32, "float32"),
    "integers": (np.int32, np.int32, "int32"),
}


@pytest.mark.parametrize("form", OPERANDS)
def test_forms_of_operands(form):
    of_input, of_filters, dtype = OPERANDS[form]
    values = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3)
    filters = np.arange(54, dtype=np.float32).reshape(3, 3, 2, 3) % 5
    x, w = of_input(values), of_filters(filters)
    ours = ct.nn.conv2d_transpose(x, w, [1, 8, 8, 2], 2)
    stock = tf.nn.conv2d_transpose(x, w, [1, 8, 8, 2], 2)
    assert ours.dtype.name == stock.dtype.name == dtype
    # Sums of small integers: exact in every dtype but the stores of half.
    assert np.array_equal(ours, stock)


def test_names_in_a_graph():
    with tf.Graph().as_default():
        x, w = np.ones([1, 4, 4, 3], "f"), np.ones([3, 3, 2, 3], "f")
        shape = [1, 8, 8, 2]
        assert ct.nn.conv_transpose(x, w, shape, 2).name == "conv_transpose:0"
        assert ct.nn.conv2d_transpose(x, w, shape, 2).name == "conv2d_transpose:0"
        assert ct.compat.v1.nn.conv2d_transpose(x, w, shape, 2).name == "conv2d_transpose_1:0"
        assert ct.nn.conv2d_transpose(x, w, shape, 2, name="a/b").name == "a/b:0"
        assert ct.conv_transpose_nd(x, w).name == "conv_transpose_nd:0"
        with tf.name_scope("outer"):
            result = ct.conv_transpose_nd(x, w, shape, 2, bias=[1.0, 2.0], name="inner")
        assert result.name == "outer/inner:0"
        assert [v.op.name for v in result.op.inputs] == [
            "outer/inner/input",
            "outer/inner/filters",
            "outer/inner/output_shape",
            "outer/inner/bias",
        ]


def test_compat_v1_names_of_arguments():
    x, w = tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 2, 3])
    v1 = ct.compat.v1.nn
    expected = tf.compat.v1.nn.conv2d_transpose(x, w, [1, 8, 8, 2], 2)
    for names in (
        ("value", "filter"),
        ("input", "filter"),
        ("value", "filters"),
        ("input", "filters"),
    ):
        operands = dict(zip(names, (x, w), strict=True))
        result = v1.conv2d_transpose(output_shape=[1, 8, 8, 2], strides=2, **operands)
        assert np.array_equal(result, expected)
    x, w = tf.ones([1, 2, 2, 2, 3]), tf.ones([3, 3, 3, 2, 3])
    expected = tf.compat.v1.nn.conv3d_transpose(x, w, [1, 4, 4, 4, 2], 2)
    result = v1.conv3d_transpose(None, None, [1, 4, 4, 4, 2], 2, input=x, filters=w)
    assert np.array_equal(result, expected)
    assert v1.conv1d_transpose is ct.nn.conv1d_transpose
    assert v1.conv_transpose is ct.nn.conv_transpose


def test_nan_and_infinity_follow_the_arithmetic():
    x = tf.constant([[[1.0], [np.nan], [np.inf], [2.0]]])
    w = tf.constant([[[1.0]], [[0.0]]])
    result = ct.conv_transpose_nd(x, w, strides=3, padding="VALID")[0, :, 0]
    nan = np.nan
    # The third position of every stride has no tap: 0, whatever the input holds.
    expected = [1, 0, 0, nan, nan, 0, np.inf, nan, 0, 2, 0]
    assert np.array_equal(result, np.array(expected, "f"), equal_nan=True)
    for activation in ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu"):
        activated = ct.conv_transpose_nd(x, w, strides=3, padding="VALID", activation=activation)[
            0, :, 0
        ]
        stock = getattr(tf.nn, activation)(result)
        assert np.array_equal(np.isnan(activated), np.isnan(stock)), activation


def test_keras_variable():
    variable = tf.keras.Variable(np.ones([3, 3, 2, 3], "f"))
    result = ct.conv_transpose_nd(tf.ones([1, 4, 4, 3]), variable, [1, 8, 8, 2], 2)
    assert result.shape == [1, 8, 8, 2]
