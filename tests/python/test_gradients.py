"""Gradients: against their definition, against tf.nn, and numerically, of every order."""

import math

import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import _gradients

ACTIVATIONS = [
    None, "relu", "relu6", "leaky_relu", "elu", "gelu", "gelu_tanh", "sigmoid", "tanh", "silu"
]  # fmt: skip
STEP = 1e-4  # of central differences in float64
# Their error: a third derivative times STEP²/6, and the rounding of the function over STEP. The
# operands below keep derivatives and values under 100.
NUMERIC = 100 * (STEP**2 / 6 + 2**-50 / STEP)


def run(case, x, w, **more):
    return ct.conv_transpose_nd(x, w, case.output_shape, **case.tf_attributes(), **more)


def small_case(rng, rank):
    """A case whose numeric gradient takes a fraction of a second."""
    while True:
        case = oracle.random_case(rng, rank)
        if math.prod(case.input_shape) <= 60 and math.prod(case.filter_shape) <= 60:
            return case


def double_operands(rng, case):
    return [tf.constant(v / 2) for v in oracle.random_operands(rng, case, "float64")]


def assert_numeric(function, operands):
    # Traced once: it is called twice per element of the operands.
    traced = tf.function(lambda *values: function(*values), autograph=False)
    analytic, numeric = tf.test.compute_gradient(traced, operands, delta=STEP)
    for one, other in zip(analytic, numeric, strict=True):
        assert np.max(np.abs(one - other), initial=0) < NUMERIC


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 6])
def test_against_definition(rank, dtype):
    rng = np.random.default_rng([rank, len(dtype)])
    for number in range(25 if rank <= 3 else 5):
        case = oracle.random_case(rng, rank)
        x, w = map(tf.constant, oracle.random_operands(rng, case, dtype))
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = run(case, x, w)
        dy = rng.standard_normal(y.shape).astype(x.numpy().dtype)
        gradients = tape.gradient(y, [x, w], tf.constant(dy))
        exact = oracle.expected_gradients(case, x.numpy(), w.numpy(), dy)
        for actual, (value, bound) in zip(gradients, exact, strict=True):
            assert actual.dtype == x.dtype
            oracle.assert_within(actual, value, bound, (number, case))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_against_tensorflow(rank):
    rng = np.random.default_rng(20 + rank)
    stock = [tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose][rank - 1]
    for number in range(30):
        padding = ["SAME", "VALID"][number % 2]
        case = oracle.random_case(rng, rank, True, False, 1, padding)
        x, w = map(tf.constant, oracle.random_operands(rng, case))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, w])
            ours = run(case, x, w)
            theirs = stock(x, w, case.output_shape, case.strides, padding)
        dy = tf.constant(rng.standard_normal(ours.shape).astype("f"))
        exact = oracle.expected_gradients(case, x.numpy(), w.numpy(), dy.numpy())
        pairs = [tape.gradient(y, [x, w], dy) for y in (ours, theirs)]
        for own, other, (_, bound) in zip(*pairs, exact, strict=True):
            oracle.assert_within(own, other.numpy().astype(np.float64), 2 * bound, (number, case))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_first_order(rank):
    rng = np.random.default_rng(30 + rank)
    for _ in range(4):
        case = small_case(rng, rank)
        x, w = double_operands(rng, case)
        assert_numeric(lambda x, w, case=case: run(case, x, w), [x, w])


@pytest.mark.parametrize("rank", [1, 2])
def test_second_order(rank):
    rng = np.random.default_rng(40 + rank)
    for _ in range(3):
        case = small_case(rng, rank)
        x, w = double_operands(rng, case)
        dy = tf.constant(rng.standard_normal(case.output_shape) / 4)

        def gradients(x, w, dy, case=case):
            with tf.GradientTape() as tape:
                tape.watch([x, w])
                y = run(case, x, w)
            dx, dw = tape.gradient(y, [x, w], dy)
            return tf.concat([tf.reshape(dx, [-1]), tf.reshape(dw, [-1])], 0)

        # Of dy too: the gradient ops are bilinear in it.
        assert_numeric(gradients, [x, w, dy])


@pytest.mark.parametrize("data_format", [None, "NC"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_and_bias_to_second_order(activation, data_format):
    rng = np.random.default_rng(50)
    shapes = ([2, 3, 4], [2, 4, 3]) if data_format else ([2, 4, 3], [2, 4, 3])
    x, w, bias = (tf.constant(rng.standard_normal(s)) for s in (*shapes, [4]))
    if activation == "relu6":
        x, bias = 3 * x, bias + 3  # reaches both bends; linear between them
    else:
        x, w = x / 2, w / 2

    def function(x, w, bias):
        return ct.conv_transpose_nd(
            x, w, strides=2, bias=bias, activation=activation, data_format=data_format
        )

    def gradients(x, w, bias):
        with tf.GradientTape() as tape:
            tape.watch([x, w, bias])
            y = function(x, w, bias)
        flat = [tf.reshape(g, [-1]) for g in tape.gradient(y, [x, w, bias])]
        return tf.concat(flat, 0)

    values = function(x, w, bias).numpy()
    bends = {"relu": [0], "leaky_relu": [0], "elu": [0], "relu6": [0, 6]}.get(activation, [])
    for bend in bends:
        # A difference across a bend is no derivative. Both sides of it are among the values.
        assert np.min(np.abs(values[values != bend] - bend)) > 10 * STEP
        assert (values <= bends[0]).any()
        assert (values >= bends[-1]).any()
    assert_numeric(function, [x, w, bias])
    assert_numeric(gradients, [x, w, bias])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_in_every_dtype(activation, dtype):
    """As the same gradient in float64: within the roundings of a few stored values."""
    rng = np.random.default_rng(60)
    exact = [tf.constant(rng.standard_normal(s)) for s in ([2, 4, 3], [3, 4, 3], [4])]
    operands = [tf.cast(v, dtype) for v in exact]
    results = []
    for values in (operands, [tf.cast(v, tf.float64) for v in operands]):
        with tf.GradientTape() as tape:
            tape.watch(values)
            x, w, bias = values
            y = ct.conv_transpose_nd(x, w, strides=2, bias=bias, activation=activation)
        results.append(tape.gradient(y, values))
    # Every stored value on the way (y or the argument, the slope, grad) is one rounding, of values
    # that a slope's derivative (< 1.2) scales; then sums of at most 16 of them.
    for actual, value in zip(*results, strict=True):
        assert actual.dtype == dtype
        scale = 16 * max(1.0, float(tf.reduce_max(tf.abs(value))))
        oracle.assert_within(actual, value.numpy(), 4 * oracle.STORE[dtype] * scale)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_bias_gradient_is_summed_in_float32(dtype):
    x, bias = tf.zeros([1, 7, 2, 1], dtype), tf.zeros([1], dtype)
    with tf.GradientTape() as tape:
        tape.watch(bias)
        y = ct.conv_transpose_nd(x, tf.zeros([1, 1, 1, 1], dtype), bias=bias)
    # Every row adds 1 to what the dtype holds in steps of 2 or more; the sum's step is 8 or 64.
    big = {"float16": 2048.0, "bfloat16": 256.0}[dtype]
    dy = tf.cast(tf.tile([[[[big], [1.0]]]], [1, 7, 1, 1]), dtype)
    exact = tf.cast(7 * (big + 1), dtype)
    assert exact != tf.cast(7 * big, dtype)
    assert float(tape.gradient(y, bias, dy)[0]) == float(exact)


@pytest.mark.parametrize("activation", [None, "tanh", "gelu", "silu"])
def test_forward_accumulator(activation):
    rng = np.random.default_rng(70)
    case = small_case(rng, 2)
    x, w = double_operands(rng, case)
    dx, dw = double_operands(rng, case)

    def function(t):
        return run(case, x + t * dx, w + t * dw, activation=activation)

    with tf.autodiff.ForwardAccumulator([x, w], [dx, dw]) as accumulator:
        y = run(case, x, w, activation=activation)
    numeric = (function(STEP) - function(-STEP)) / (2 * STEP)
    assert np.max(np.abs(accumulator.jvp(y) - numeric)) < NUMERIC
    if activation is None:
        exact = run(case, dx, w) + run(case, x, dw)
        assert np.max(np.abs(accumulator.jvp(y) - exact)) < 1e-12


@pytest.mark.parametrize("in_function", [False, True])
def test_derivatives_of_order_four(in_function):
    rng = np.random.default_rng(80)
    case = small_case(rng, 1)
    x, w = double_operands(rng, case)
    dx, dw = double_operands(rng, case)

    def derivative(order, t):
        if order == 0:
            return tf.reduce_sum(run(case, x + t * dx, w + t * dw, activation="tanh"))
        with tf.GradientTape() as tape:
            tape.watch(t)
            value = derivative(order - 1, t)
        return tape.gradient(value, t)

    call = tf.function(derivative) if in_function else derivative
    t = tf.constant(0.3, tf.float64)
    for order in range(1, 5):
        numeric = (call(order - 1, t + STEP) - call(order - 1, t - STEP)) / (2 * STEP)
        value = call(order, t)
        # The next two derivatives grow by no more than 100 from one to the next.
        assert abs(value - numeric) < NUMERIC * max(1.0, 100 * abs(float(value)))


def test_hessian_in_a_v1_graph():
    rng = np.random.default_rng(90)
    case = small_case(rng, 1)
    x_value, w_value = oracle.random_operands(rng, case, "float64")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x, w = tf.constant(x_value), tf.constant(w_value)
        y = run(case, x, w)
        (dx,) = tf.gradients(y, x)
        # y is bilinear: sum(dx) is T(1, w) summed, and its gradient by w does not depend on w.
        (dxdw,) = tf.gradients(dx, w)
        shape, none = tf.gradients(y, [w, y.op.inputs[2]])
        result, _ = session.run([dxdw, shape])
    assert none is None
    ones = tf.ones_like(x_value)
    exact = oracle.expected_gradients(case, ones.numpy(), w_value, np.ones(case.output_shape))
    oracle.assert_within(result, *exact[1])


@pytest.fixture
def calls(monkeypatch):
    """Counts the ops that gradients create."""
    counts = {"conv_transpose_nd_input_grad": 0, "conv_transpose_nd_filter_grad": 0}
    for name in counts:
        original = getattr(_gradients.library, name)

        def counted(*args, name=name, original=original, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(_gradients.library, name, counted)
    return counts


@pytest.mark.parametrize(
    ("watched", "input_grads", "filter_grads"), [("x", 1, 0), ("w", 0, 1), ("b", 0, 0)]
)
@pytest.mark.parametrize("in_function", [False, True])
def test_nothing_is_computed_that_nobody_asked_for(
    calls, watched, input_grads, filter_grads, in_function
):
    operands = {"x": tf.ones([1, 4, 3]), "w": tf.ones([3, 2, 3]), "b": tf.ones([2])}

    def gradient(x, w, b):
        target = {"x": x, "w": w, "b": b}[watched]
        with tf.GradientTape() as tape:
            tape.watch(target)
            y = ct.conv_transpose_nd(x, w, strides=2, bias=b)
        return tape.gradient(y, target)

    call = tf.function(gradient) if in_function else gradient
    assert call(**operands).shape == operands[watched].shape
    assert list(calls.values()) == [input_grads, filter_grads]


def test_integers_have_no_gradient():
    x, w = tf.ones([1, 4, 3], tf.int32), tf.ones([3, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(w)
        y = ct.conv_transpose_nd(x, tf.cast(w, tf.int32))
    assert tape.gradient(y, w) is None


def test_unknown_shapes():
    specs = [tf.TensorSpec([None] * 4, tf.float64)] * 2

    @tf.function(input_signature=[*specs, tf.TensorSpec(None, tf.int64)])
    def gradients(x, w, shape):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = ct.conv_transpose_nd(x, w, shape, strides=2, activation="silu")
        return tape.gradient(y, [x, w])

    rng = np.random.default_rng(100)
    x, w = (tf.constant(rng.standard_normal(s)) for s in ([2, 3, 4, 3], [3, 3, 2, 3]))
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ct.conv_transpose_nd(x, w, [2, 6, 8, 2], strides=2, activation="silu")
    for traced, eager in zip(gradients(x, w, [2, 6, 8, 2]), tape.gradient(y, [x, w]), strict=True):
        assert np.max(np.abs(traced - eager)) < 1e-12


def test_gradient_of_an_inferred_shape_with_output_padding():
    x, w = tf.ones([1, 4, 3], tf.float64), tf.ones([3, 2, 3], tf.float64)
    for activation in (None, "gelu"):
        assert_numeric(
            lambda x, w, activation=activation: ct.conv_transpose_nd(
                x / 9, w / 9, strides=2, output_padding=1, activation=activation
            ),
            [x, w],
        )


@pytest.mark.parametrize("empty", ["batch", "length", "in_channels", "out_channels", "filter"])
def test_empty_operands(empty):
    size = {"batch": 2, "length": 4, "in_channels": 3, "out_channels": 5, "filter": 3} | {empty: 0}
    x = tf.ones([size["batch"], size["length"], size["in_channels"]])
    w = tf.ones([size["filter"], size["out_channels"], size["in_channels"]])
    bias = tf.ones([size["out_channels"]])
    with tf.GradientTape() as tape:
        tape.watch([x, w, bias])
        y = ct.conv_transpose_nd(x, w, strides=2, bias=bias)
    assert y.shape == [size["batch"], 2 * size["length"], size["out_channels"]]
    dx, dw, db = tape.gradient(y, [x, w, bias])
    assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, bias.shape)
    if empty != "out_channels":
        assert np.array_equal(db, np.full(db.shape, size["batch"] * 2.0 * size["length"]))
    assert not np.any(dw)
    assert empty in ("filter", "out_channels") or not np.any(dx) or dx.shape.num_elements()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("length", [0, 1, 16384, 40000])
def test_bias_gradient_of_a_long_axis(length, channels_first, known):
    """A sum that is formed in parts, of which the last is not full."""
    shape = [2, 1, length] if channels_first else [2, length, 1]
    static = shape if known else [None] * 3
    rng = np.random.default_rng(110)
    dy = rng.integers(-8, 9, shape).astype("f")

    @tf.function(input_signature=[tf.TensorSpec(static), tf.TensorSpec([1]), tf.TensorSpec(static)])
    def gradient(x, bias, dy):
        with tf.GradientTape() as tape:
            tape.watch(bias)
            data_format = "NCW" if channels_first else "NWC"
            y = ct.conv_transpose_nd(x, tf.ones([1, 1, 1]), bias=bias, data_format=data_format)
        return tape.gradient(y, bias, dy)

    assert gradient(tf.zeros(shape), tf.zeros([1]), dy).numpy().tolist() == [dy.sum()]
