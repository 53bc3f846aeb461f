"""Calls of the NumPy module whose filter is packed once: values, threads, errors."""

import threading

import numpy as np
import oracle
import pytest

from conv_transpose_nd import core

DTYPES = ["float16", "bfloat16", "float32", "float64", "int32"]


def prepared(case, w, **options):
    return core.prepare_conv_transpose(
        w, output_shape=case.output_shape, **case.attributes(), **options
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_values(rank, dtype):
    rng = np.random.default_rng(rank)
    for _ in range(8):
        case = oracle.random_case(rng, rank)
        x, w = oracle.random_operands(rng, case, dtype)
        exact, bound = oracle.expected(case, x, w)
        call = prepared(case, w, num_threads=1)
        for _ in range(2):
            y = call(x)
            assert y.dtype == x.dtype
            oracle.assert_within(y, exact, bound, str(case))


def test_input_grad():
    rng = np.random.default_rng(0)
    for rank in (1, 2, 3):
        case = oracle.random_case(rng, rank)
        x, w = oracle.random_operands(rng, case)
        dy = rng.standard_normal(case.output_shape).astype("float32")
        (exact, bound), _ = oracle.expected_gradients(case, x, w, dy)
        call = core.prepare_input_grad(w, **case.attributes())
        oracle.assert_within(call(dy), exact, bound, str(case))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_filter_grad(dtype):
    rng = np.random.default_rng(5)
    for rank in (1, 2, 3):
        case = oracle.random_case(rng, rank)
        x, w = oracle.random_operands(rng, case, dtype)
        dy = rng.standard_normal(case.output_shape).astype(dtype)
        _, (exact, bound) = oracle.expected_gradients(case, x, w, dy)
        call = core.prepare_filter_grad(w.shape, **case.attributes())
        for _ in range(2):
            dw = call(x, dy)
            assert dw.dtype == x.dtype
            oracle.assert_within(dw, exact, bound, str(case))


def test_filter_grad_of_changing_shapes_and_dtypes():
    rng = np.random.default_rng(6)
    call = core.prepare_filter_grad([4, 4, 8, 16], strides=2)
    for _ in range(2):
        for length in range(1, 12):
            for dtype in (np.float32, np.float64):
                x = rng.standard_normal((2, length, 3, 16)).astype(dtype)
                dy = rng.standard_normal((2, 2 * length, 6, 8)).astype(dtype)
                same = core.filter_grad(x, [4, 4, 8, 16], dy, strides=2)
                np.testing.assert_array_equal(call(x, dy), same)


def test_bias_and_activation():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 5, 6, 16)), rng.standard_normal((4, 4, 8, 16))
    bias = rng.standard_normal(8)
    call = core.prepare_conv_transpose(w, strides=2, bias=bias, activation="relu")
    wanted = core.reference_conv_transpose(x, w, strides=2, bias=bias, activation="relu")
    np.testing.assert_allclose(call(x), wanted, rtol=1e-10, atol=1e-11)


def test_more_shapes_than_are_kept():
    rng = np.random.default_rng(2)
    w = rng.standard_normal((4, 4, 32, 48)).astype("float32")
    call = core.prepare_conv_transpose(w, strides=2)
    for _ in range(2):
        for length in range(1, 14):
            x = rng.standard_normal((1, length, 3, 48)).astype("float32")
            wanted = core.reference_conv_transpose(x, w, strides=2)
            np.testing.assert_allclose(call(x), wanted, rtol=1e-4, atol=1e-3)


def test_the_filter_is_a_copy():
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((1, 6, 8)), rng.standard_normal((3, 4, 8))
    bias = rng.standard_normal(4)
    call = core.prepare_conv_transpose(w, bias=bias)
    wanted = core.reference_conv_transpose(x, w, bias=bias)
    w[:], bias[:] = 0, 0
    np.testing.assert_allclose(call(x), wanted, rtol=1e-10, atol=1e-11)


def test_threads_share_a_call():
    rng = np.random.default_rng(4)
    w = rng.standard_normal((4, 4, 32, 64)).astype("float32")
    call = core.prepare_conv_transpose(w, strides=2)
    inputs = [rng.standard_normal((1, 4 + i % 5, 7, 64)).astype("float32") for i in range(16)]
    wanted = [core.prepare_conv_transpose(w, strides=2)(x) for x in inputs]
    results = [None] * len(inputs)

    def run(i):
        for _ in range(20):
            results[i] = call(inputs[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result, same in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(result, same)


@pytest.mark.parametrize(
    ("make", "array", "message"),
    [
        (lambda w: core.prepare_conv_transpose(w, strides=0), (1, 4, 8), r"strides\[1\].*got 0"),
        (lambda w: core.prepare_conv_transpose(w), (1, 4, 7), "in_channels"),
        (lambda w: core.prepare_conv_transpose(w, num_threads=-1), (1, 4, 8), "num_threads.*-1"),
        (lambda w: core.prepare_conv_transpose(w, bias=w[0, 0]), (1, 4, 8), "bias"),
        (lambda w: core.prepare_input_grad(w), (1, 4, 8), "out_channels"),
        (lambda w: core.prepare_conv_transpose(w), (4,), "rank|dims|dimensions"),
    ],
)
def test_errors(make, array, message):
    w = np.zeros((3, 4, 8), np.float32)
    with pytest.raises(ValueError, match=message):
        make(w)(np.zeros(array, np.float32))


@pytest.mark.parametrize(
    ("options", "shapes", "message"),
    [
        ({"strides": 0}, [(1, 4, 8), (1, 4, 4)], r"strides\[1\].*got 0"),
        ({"num_threads": -1}, [(1, 4, 8), (1, 4, 4)], "num_threads.*-1"),
        ({}, [(1, 4, 7), (1, 4, 4)], "in_channels"),
        ({}, [(1, 4, 8), (1, 4, 5)], "out_channels"),
        ({}, [(1, 4, 8), (1, 5, 4)], "output"),
    ],
)
def test_errors_of_filter_grad(options, shapes, message):
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        core.prepare_filter_grad([3, 4, 8], **options)(*arrays)


def test_dtypes_must_agree():
    call = core.prepare_conv_transpose(np.zeros((3, 4, 8), np.float32))
    with pytest.raises(ValueError, match="dtype of filter, float32, got float64"):
        call(np.zeros((1, 4, 8), np.float64))
    grad = core.prepare_filter_grad([3, 4, 8])
    with pytest.raises(ValueError, match="dtype of input, float32, got float64"):
        grad(np.zeros((1, 4, 8), np.float32), np.zeros((1, 4, 4), np.float64))
