"""JAX: lax.conv_general_dilated in a jitted function, on arrays that stay on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workload import Case


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """The forward call, or its vector-Jacobian product; the filter is reversed beforehand."""
    import jax

    if case.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if case.operation == "forward":
        x, w = jax.numpy.asarray(case.operand("input")), _reversed(case)
        if constant:
            inner = jax.jit(lambda x: _forward(case, x, w))
            return lambda: inner(x).block_until_ready()
        function = jax.jit(lambda x, w: _forward(case, x, w))
        w = jax.numpy.asarray(w)
        return lambda: function(x, w).block_until_ready()
    dy = jax.numpy.asarray(case.operand("output_grad"))
    if case.operation == "input_grad":
        shape = jax.ShapeDtypeStruct(case.workload.input_shape, dy.dtype)
        other = jax.numpy.asarray(_reversed(case))
        transposed = jax.jit(
            lambda w, dy: jax.linear_transpose(lambda x: _forward(case, x, w), shape)(dy)[0]
        )
    else:
        shape = jax.ShapeDtypeStruct(_native_shape(case), dy.dtype)
        other = jax.numpy.asarray(case.operand("input"))
        transposed = jax.jit(
            lambda x, dy: jax.linear_transpose(lambda w: _forward(case, x, w), shape)(dy)[0]
        )
    return lambda: transposed(other, dy).block_until_ready()


def _forward(case: Case, x: Any, w: Any) -> Any:
    import jax

    workload = case.workload
    axes = "012"[: workload.rank]
    sizes = zip(
        workload.in_spatial,
        workload.out_spatial,
        workload.filter_spatial,
        workload.strides,
        workload.dilations,
        workload.pads,
        strict=True,
    )
    # The filter slides over the input with its strides' zeros in between.
    padding = [
        ((k - 1) * d - pad[0], out - (n - 1) * s - 1 + pad[0]) for n, out, k, s, d, pad in sizes
    ]
    return jax.lax.conv_general_dilated(
        x,
        w,
        window_strides=[1] * workload.rank,
        padding=padding,
        lhs_dilation=workload.strides,
        rhs_dilation=workload.dilations,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=workload.groups,
    )


def _native_shape(case: Case) -> list[int]:
    workload = case.workload
    channels = [workload.in_channels // workload.groups, workload.out_channels]
    return [*workload.filter_spatial, *channels]


def _reversed(case: Case) -> np.ndarray:
    """[k..., out / groups, in] to [k reversed..., in / groups, out]."""
    w, workload = case.operand("filter"), case.workload
    axes = tuple(range(workload.rank))
    w = np.flip(w, axes)
    out, groups = workload.out_channels // workload.groups, workload.groups
    w = w.reshape(*workload.filter_spatial, out, groups, workload.in_channels // groups)
    rank = workload.rank
    return np.ascontiguousarray(
        w.transpose(*axes, rank + 2, rank + 1, rank).reshape(_native_shape(case))
    )


def to_tensorflow(array: Any, case: Case) -> np.ndarray:
    """The filter's gradient as [k..., out / groups, in]; all else has TensorFlow's layout."""
    value = np.asarray(array)
    if case.operation != "filter_grad":
        return value
    workload, rank, groups = case.workload, case.workload.rank, case.workload.groups
    axes = tuple(range(rank))
    value = np.flip(value, axes)
    value = value.reshape(*workload.filter_spatial, workload.in_channels // groups, groups, -1)
    return value.transpose(*axes, rank + 2, rank + 1, rank).reshape(workload.filter_shape)
