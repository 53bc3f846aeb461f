"""This project's kernels on NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workload import Case, Workload


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """One call of conv_transpose_nd.core."""
    from conv_transpose_nd import core

    workload = case.workload
    options = _options(workload) | {"num_threads": case.threads}
    if case.operation == "input_grad":
        dy, w = case.operand("output_grad"), case.operand("filter")
        return lambda: core.input_grad(dy, w, **options)
    x = case.operand("input")
    if case.operation == "filter_grad":
        dy, shape = case.operand("output_grad"), workload.filter_shape
        return lambda: core.filter_grad(x, shape, dy, **options)
    w = case.operand("filter")
    return lambda: core.conv_transpose(x, w, output_shape=workload.output_shape, **options)


def plan(case: Case) -> dict[str, Any]:
    """How the case is computed, and in how much memory beside its operands."""
    from conv_transpose_nd import core

    names = {"forward": "conv_transpose"}
    workload = case.workload
    value = core.plan(
        workload.input_shape,
        workload.filter_shape,
        output_shape=workload.output_shape,
        operation=names.get(case.operation, case.operation),
        dtype=case.dtype,
        **_options(workload),
    )
    workers = min(case.threads, value["units"])
    value["workspace_bytes"] = value["shared_bytes"] + workers * value["scratch_bytes"]
    return value


def _options(workload: Workload) -> dict[str, Any]:
    return {
        "strides": workload.strides,
        "padding": workload.padding,
        "dilations": workload.dilations,
        "groups": workload.groups,
    }
