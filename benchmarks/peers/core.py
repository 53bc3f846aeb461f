"""This project's kernels on NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case, Workload


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """One call of conv_transpose_nd.core; that of a filter gradient is prepared."""
    from conv_transpose_nd import core

    workload = case.workload
    options = _options(workload) | {"num_threads": case.threads}
    if constant:
        return _constant(case, options)
    if case.operation == "input_grad":
        dy, w = case.operand("output_grad"), case.operand("filter")
        return lambda: core.input_grad(dy, w, **options)
    x = case.operand("input")
    if case.operation == "filter_grad":
        dy = case.operand("output_grad")
        call = core.prepare_filter_grad(workload.filter_shape, **options)
        return lambda: call(x, dy)
    w = case.operand("filter")
    return lambda: core.conv_transpose(x, w, output_shape=workload.output_shape, **options)


def _constant(case: Case, options: dict[str, Any]) -> Callable[[], Any]:
    """The filter is packed once."""
    from conv_transpose_nd import core

    if case.operation == "filter_grad":
        raise UnsupportedError("a constant has no gradient")
    w = case.operand("filter")
    if case.operation == "input_grad":
        call, source = core.prepare_input_grad(w, **options), case.operand("output_grad")
    else:
        shape = case.workload.output_shape
        call = core.prepare_conv_transpose(w, output_shape=shape, **options)
        source = case.operand("input")
    return lambda: call(source)


def facts(case: Case) -> dict[str, Any]:
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
    return {"plan": value}


def _options(workload: Workload) -> dict[str, Any]:
    return {
        "strides": workload.strides,
        "padding": workload.padding,
        "dilations": workload.dilations,
        "groups": workload.groups,
    }
