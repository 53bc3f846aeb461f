"""The benchmark's workloads are what they say, and its peers compute them."""

import numpy as np
import pytest
from benchmarks.peers import UnsupportedError
from benchmarks.peers import core as core_peer
from benchmarks.peers import op as op_peer
from benchmarks.peers import tensorflow as stock_peer
from benchmarks.workload import DTYPES, OPERATIONS, Case, case_from_json, load_suite

from conv_transpose_nd import core

SUITE = load_suite()


@pytest.mark.parametrize("workload", SUITE, ids=lambda w: w.name)
def test_geometry_gives_the_suites_lengths_and_pads(workload):
    geometry = core.geometry(
        workload.input_shape,
        workload.filter_shape,
        output_shape=workload.output_shape,
        strides=workload.strides,
        padding=workload.padding,
        dilations=workload.dilations,
        groups=workload.groups,
    )
    assert geometry["output_shape"] == workload.output_shape
    assert geometry["pad_before"] == [before for before, _ in workload.pads]


@pytest.mark.parametrize("workload", SUITE, ids=lambda w: w.name)
def test_planned_multiply_adds_are_the_suites_flops(workload):
    plan = core.plan(
        workload.input_shape,
        workload.filter_shape,
        output_shape=workload.output_shape,
        strides=workload.strides,
        padding=workload.padding,
        dilations=workload.dilations,
        groups=workload.groups,
    )
    assert 2 * plan["multiply_adds"] == workload.flops


@pytest.mark.parametrize("workload", SUITE, ids=lambda w: w.name)
def test_pads_of_other_libraries_are_the_suites(workload):
    assert workload.end_pads() == [after for _, after in workload.pads]


def case_of(folder, operation="forward", dtype="float32", name="dcgan_tf_l3"):
    case = Case(load_suite(name)[0], operation, dtype, 1, folder)
    case.write_operands()
    return case


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_core_peer_computes_the_operation(operation, dtype, tmp_path):
    case = case_of(tmp_path, operation, dtype)
    workload = case.workload
    options = {"strides": workload.strides, "padding": workload.padding}

    def operand(name):
        return case.operand(name).astype(np.float64)

    if operation == "forward":
        expected = core.reference_conv_transpose(
            operand("input"), operand("filter"), output_shape=workload.output_shape, **options
        )
    elif operation == "input_grad":
        expected = core.reference_input_grad(operand("output_grad"), operand("filter"), **options)
    else:
        expected = core.reference_filter_grad(
            operand("input"), workload.filter_shape, operand("output_grad"), **options
        )
    actual = core_peer.make(case, constant=False)()
    assert actual.dtype == case.numpy_dtype
    difference = np.abs(actual.astype(np.float64) - expected).max()
    assert difference <= workload.tolerance(operation, dtype)
    # Not so large that a result without one of the terms would pass, either.
    assert workload.tolerance(operation, dtype) < np.abs(expected).max() / 4


@pytest.mark.parametrize("operation", ["forward", "input_grad"])
def test_the_constant_peer_equals_the_one_with_an_argument(operation, tmp_path, monkeypatch):
    # The thread pools of a running process cannot be changed.
    monkeypatch.setattr(stock_peer, "configure", lambda threads: None)
    case = case_of(tmp_path, operation)
    constant, argument = op_peer.make(case, True)(), op_peer.make(case, False)()
    np.testing.assert_array_equal(constant, argument)
    stock = stock_peer.make(case, False)()
    assert np.abs(np.subtract(stock, argument)).max() <= case.workload.tolerance(operation)


def test_the_constant_peer_has_no_filter_gradient(tmp_path, monkeypatch):
    monkeypatch.setattr(stock_peer, "configure", lambda threads: None)
    with pytest.raises(UnsupportedError, match="no gradient"):
        op_peer.make(case_of(tmp_path, "filter_grad"), True)


def test_a_case_is_the_same_in_another_process(tmp_path):
    case = case_of(tmp_path)
    assert case_from_json(case.to_json()) == case
    assert not (tmp_path / "output_grad.npy").exists()
