"""This project's kernels on NumPy arrays, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workload import Workload


def make(workload: Workload, operation: str, threads: int) -> Callable[[], Any]:
    """One call of conv_transpose_nd.core."""
    from conv_transpose_nd import core

    x, w, dy = workload.operands()
    options = {
        "strides": workload.strides,
        "padding": workload.padding,
        "dilations": workload.dilations,
        "groups": workload.groups,
        "num_threads": threads,
    }
    if operation == "input_grad":
        return lambda: core.input_grad(dy, w, **options)
    if operation == "filter_grad":
        return lambda: core.filter_grad(x, list(w.shape), dy, **options)
    return lambda: core.conv_transpose(x, w, output_shape=workload.output_shape, **options)
