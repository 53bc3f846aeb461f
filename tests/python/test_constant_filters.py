"""Filters that are constants of a graph: marked, packed once, and never taken for another."""

import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import core

RNG = np.random.default_rng(0)
FILTER = RNG.uniform(-1, 1, [4, 24, 40]).astype(np.float32)


def signal(length):
    return RNG.uniform(-1, 1, [2, length, 40]).astype(np.float32)


def definition(x, w):
    """Of stride 2, and a bound of float32 sums in any order or transformed domain."""
    exact = core.reference_conv_transpose(np.float64(x), np.float64(w), strides=2)
    sizes = core.reference_conv_transpose(np.abs(np.float64(x)), np.abs(np.float64(w)), strides=2)
    # Two taps of 40 channels make a sum; minimal filtering rounds sums of operands before.
    return exact, 4 * 2 * x.shape[-1] * np.finfo(np.float32).eps * sizes.max()


def assert_is_definition(y, x, w):
    exact, bound = definition(x, w)
    assert np.abs(np.asarray(y) - exact).max() <= bound


def marks(function):
    graph = function.get_concrete_function(tf.TensorSpec([2, None, 40])).graph
    ops = [op for op in graph.get_operations() if op.type.startswith("ConvTransposeND")]
    assert ops
    return {op.get_attr("filter_is_constant") for op in ops if "Filter" not in op.type}


@pytest.mark.parametrize("make", [lambda: FILTER, lambda: tf.constant(FILTER)])
def test_a_constant_of_the_function_is_marked(make):
    @tf.function(autograph=False)
    def function(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ct.nn.conv1d_transpose(x, make(), None, 2)
        return y, tape.gradient(y, x)

    assert marks(function) == {True}
    for length in (9, 30, 9, 31, 32, 33, 30):  # alternating plans, and more of them than are kept
        x = signal(length)
        y, gradient = function(x)
        assert_is_definition(y, x, FILTER)
        eager = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(eager)
            loss = tf.reduce_sum(tf.nn.conv1d_transpose(eager, FILTER, y.shape, 2))
        np.testing.assert_allclose(gradient, tape.gradient(loss, eager), rtol=0, atol=2e-4)


def test_variables_and_arguments_are_not_marked():
    variable = tf.Variable(FILTER)
    captured = tf.constant(FILTER)
    assert marks(tf.function(lambda x: ct.nn.conv1d_transpose(x, variable, None, 2))) == {False}
    assert marks(tf.function(lambda x: ct.nn.conv1d_transpose(x, captured, None, 2))) == {False}


def test_a_fed_constant_is_packed_again():
    """TensorFlow 1 may feed any tensor, a constant among them."""
    v1 = tf.compat.v1
    x, other = signal(20), RNG.uniform(-1, 1, FILTER.shape).astype(np.float32)
    with tf.Graph().as_default() as graph:
        w = tf.constant(FILTER)
        y = ct.nn.conv1d_transpose(tf.constant(x), w, None, 2)
        assert y.op.get_attr("filter_is_constant")
    with v1.Session(graph=graph) as session:
        for value in (None, other, None, -other, FILTER, other):
            got = session.run(y, {} if value is None else {w: value})
            assert_is_definition(got, x, FILTER if value is None else value)
