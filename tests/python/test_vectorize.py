"""tf.vectorized_map and Jacobians: values of one call after the other, without a loop."""

import itertools

import numpy as np
import oracle
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import _vectorize

L = 3
CASES = [
    {"rank": 2, "groups": 1, "channels_first": False},
    {"rank": 2, "groups": 2, "channels_first": False},
    {"rank": 1, "groups": 3, "channels_first": True},
    {"rank": 3, "groups": 1, "channels_first": True},
]


def mapped(function, *tensors):
    return tf.vectorized_map(lambda t: function(*t), tensors, fallback_to_while_loop=False)


def one_by_one(function, *tensors):
    return tf.stack([function(*(t[i] for t in tensors)) for i in range(len(tensors[0]))])


def integers(rng, shape):
    """Small enough for exact sums in float32, whatever their order."""
    return tf.constant(rng.integers(-8, 9, shape).astype("f"))


def check(function, operands, stacked):
    """Equal to calls one by one, with `stacked` of the operands mapped over."""

    def call(*some):
        some = iter(some)
        return function(
            *(next(some) if s else t[0] for t, s in zip(operands, stacked, strict=True))
        )

    tensors = [t for t, s in zip(operands, stacked, strict=True) if s]
    expected = one_by_one(call, *tensors)
    assert np.array_equal(mapped(call, *tensors), expected)
    # As unknown as it gets.
    specs = [tf.TensorSpec([None] * len(t.shape)) for t in tensors]
    dynamic = tf.function(lambda *some: mapped(call, *some), input_signature=specs)
    assert np.array_equal(dynamic(*tensors), expected)


def combinations(count):
    return [s for s in itertools.product([False, True], repeat=count) if any(s)]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    options = request.param
    rng = np.random.default_rng(1)
    case = oracle.random_case(rng, **options)
    while case.padding != "SAME" or case.input_shape[0] == 1 or max(case.dilations) == 1:
        case = oracle.random_case(rng, **options)
    return case


def gradients_of(case, x, w, dy):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = ct.conv_transpose_nd(x, w, case.output_shape, **case.tf_attributes())
    return tape.gradient(y, [x, w], dy)


@pytest.mark.parametrize("stacked", combinations(3), ids=str)
def test_forward_with_bias(case, stacked):
    rng = np.random.default_rng(2)
    channels = case.filter_shape[-2] * case.groups
    shapes = case.input_shape, case.filter_shape, [channels]
    operands = [integers(rng, [L, *shape]) for shape in shapes]

    def function(x, w, bias):
        return ct.conv_transpose_nd(
            x, w, case.output_shape, bias=bias, activation="relu6", **case.tf_attributes()
        )

    check(function, operands, stacked)


@pytest.mark.parametrize("stacked", combinations(2), ids=str)
def test_forward_with_an_inferred_shape(stacked):
    rng = np.random.default_rng(3)
    operands = [integers(rng, [L, 2, 4, 5, 6]), integers(rng, [L, 3, 2, 2, 6])]

    def function(x, w):
        return ct.conv_transpose_nd(x, w, strides=2, groups=3, output_padding=1, padding="VALID")

    check(function, operands, stacked)


@pytest.mark.parametrize("stacked", combinations(2), ids=str)
@pytest.mark.parametrize("which", [0, 1])
def test_gradient_ops(case, which, stacked):
    """Of input: output_grad and filters are the factors; of filters: input and output_grad."""
    rng = np.random.default_rng(4)
    shapes = case.input_shape, case.filter_shape, case.output_shape
    operands = [integers(rng, [L, *shape]) for shape in shapes]
    x_w_dy = (False, stacked[1], stacked[0]) if which == 0 else (stacked[0], False, stacked[1])
    check(lambda *t: gradients_of(case, *t)[which], operands, x_w_dy)


def test_per_example_gradients_of_all_variables():
    rng = np.random.default_rng(5)
    x, target = integers(rng, [L, 4, 5, 3]), integers(rng, [L, 8, 10, 2])
    w, bias = integers(rng, [3, 2, 2, 3]), integers(rng, [2])

    def gradients(x, target):
        with tf.GradientTape() as tape:
            tape.watch([w, bias])
            y = ct.conv_transpose_nd(x[None], w, strides=2, bias=bias)
            loss = tf.reduce_sum(y * target[None])
        return tape.gradient(loss, [w, bias])

    for ours, alone in zip(
        mapped(gradients, x, target),
        zip(*(gradients(x[i], target[i]) for i in range(L)), strict=True),
        strict=True,
    ):
        assert np.array_equal(ours, tf.stack(alone))


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "tanh", "gelu", "silu"])
def test_jacobians(activation):
    """The columns of the Jacobian are derivatives along the unit vectors."""
    rng = np.random.default_rng(6)
    x, w, bias = (tf.constant(rng.standard_normal(s) / 2) for s in ([2, 3, 2], [3, 2, 2], [2]))

    def function(x, w, bias):
        return ct.conv_transpose_nd(x, w, strides=2, bias=bias, activation=activation)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, w, bias])
        y = function(x, w, bias)
    jacobians = tape.jacobian(y, [x, w, bias], experimental_use_pfor=True)
    batched = tape.batch_jacobian(y, x, experimental_use_pfor=True)
    for operand, jacobian in zip([x, w, bias], jacobians, strict=True):
        size = operand.shape.num_elements()
        assert jacobian.shape == y.shape + operand.shape
        for element in range(size):
            tangent = tf.reshape(tf.one_hot(element, size, dtype=tf.float64), operand.shape)
            with tf.autodiff.ForwardAccumulator(operand, tangent) as accumulator:
                output = function(x, w, bias)
            column = tf.reshape(jacobian, [*y.shape, size])[..., element]
            # Sums of up to 12 products of values below 4, in float64.
            assert np.max(np.abs(column - accumulator.jvp(output))) < 12 * 16 * 2.0**-52
    rows = tf.stack([jacobians[0][b, :, :, b] for b in range(2)])
    assert np.max(np.abs(batched - rows)) < 12 * 16 * 2.0**-52


def test_hessian():
    rng = np.random.default_rng(7)
    x, w = (tf.constant(rng.standard_normal(s)) for s in ([1, 3, 2], [3, 2, 2]))
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, w])
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = ct.conv_transpose_nd(x, w, strides=2)
        dx = inner.gradient(y, x)
    mixed = outer.jacobian(dx, w, experimental_use_pfor=True)
    # d sum(y) / dx is linear in w: its Jacobian times w gives it back.
    product = tf.reduce_sum(mixed * w, axis=[3, 4, 5])
    assert np.max(np.abs(product - dx)) < 12 * 16 * 2.0**-52


@pytest.mark.parametrize(("stacked", "groups"), [((1, 1), L), ((1, 0), 1), ((0, 1), 1)])
def test_the_graph_holds_one_call_and_no_loop(stacked, groups):
    x, w = tf.ones([L, 1, 4, 2]), tf.ones([L, 3, 2, 2])
    tensors = [t for t, s in zip((x, w), stacked, strict=True) if s]

    @tf.function
    def graph(*tensors):
        def one(*some):
            some = iter(some)
            return ct.conv_transpose_nd(*(next(some) if s else t[0] for t, s in mixed))

        mixed = list(zip((x, w), stacked, strict=True))
        return mapped(one, *tensors)

    operations = graph.get_concrete_function(*tensors).graph.get_operations()
    assert not any("While" in op.type for op in operations)
    # The body as it was traced, whose result nobody reads, and what became of it.
    traced, converted = (op for op in operations if op.type == "ConvTransposeND")
    assert not traced.outputs[0].consumers()
    assert converted.get_attr("groups") == groups


def test_a_shape_that_depends_on_the_loop_is_left_to_tensorflow():
    x, shapes = tf.ones([L, 1, 4, 2]), tf.constant([[1, 8, 2]] * L)

    def function(x, shape):
        return ct.conv_transpose_nd(x, tf.ones([3, 2, 2]), shape, strides=2)

    with pytest.raises(ValueError, match="expected to be loop invariant"):
        mapped(function, x, shapes)
    looped = tf.vectorized_map(lambda t: function(*t), (x, shapes))
    assert np.array_equal(looped, one_by_one(function, x, shapes))


def test_without_the_private_interface_nothing_is_registered(run_python):
    run_python(
        """
import sys
import tensorflow as tf
sys.modules["tensorflow.python.ops.parallel_for.pfor"] = None
import tensorflow.python.ops.parallel_for as parallel_for
del parallel_for.pfor
import conv_transpose_nd as ct
from conv_transpose_nd import _vectorize
assert _vectorize._pfor is None
y = ct.conv_transpose_nd(tf.ones([1, 4, 2]), tf.ones([3, 2, 2]), strides=2)
assert y.shape == [1, 8, 2]
"""
    )
    assert _vectorize._pfor is not None
