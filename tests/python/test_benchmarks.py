"""The benchmark's workloads are what they say, and it finds a wrong result."""

import math

import numpy as np
import pytest
from benchmarks import run
from benchmarks.peers import core as core_peer
from benchmarks.workload import OPERATIONS, load_suite

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


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_core_peer_computes_the_operation(operation):
    workload = load_suite("dcgan_tf_l3")[0]
    x, w, dy = (array.astype(np.float64) for array in workload.operands())
    options = {"strides": workload.strides, "padding": workload.padding}
    expected = {
        "forward": lambda: core.reference_conv_transpose(
            x, w, output_shape=workload.output_shape, **options
        ),
        "input_grad": lambda: core.reference_input_grad(dy, w, **options),
        "filter_grad": lambda: core.reference_filter_grad(x, list(w.shape), dy, **options),
    }[operation]()
    actual = core_peer.make(workload, operation, threads=1)()
    assert np.abs(actual - expected).max() <= workload.tolerance(operation)


def case(op, best, equal=True):
    return {
        "workload": "w",
        "operation": "forward",
        "threads": 1,
        "peers": {
            "op": {"median_ms": op, "equal": equal},
            "tensorflow": {"median_ms": best, "equal": True},
            "pytorch": {"unsupported": "no such case"},
        },
    }


def test_ratio_compares_with_the_best_peer_whose_result_is_right():
    assert math.isclose(run.ratio(case(2.0, 3.0)), 1.5)
    assert run.ratio(case(2.0, 3.0, equal=False)) is None


def test_the_table_marks_a_wrong_result_and_averages_the_right_ones():
    table = run.markdown([case(1.0, 4.0), case(1.0, 1.0)], ["op", "tensorflow", "pytorch"])
    assert "over 2 cases: 2.00" in table
    assert "(wrong)" in run.markdown([case(1.0, 4.0, equal=False)], ["op"])
