"""This project's op in a tf.function, the filter as an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import tensorflow as stock
from benchmarks.workload import Workload


def make(workload: Workload, operation: str, threads: int) -> Callable[[], Any]:
    """Like the stock peer, with `conv_transpose_nd` for `tf.nn`."""
    stock.configure(threads)
    import conv_transpose_nd as ct

    def forward(x: Any, w: Any) -> Any:
        return ct.conv_transpose_nd(
            x,
            w,
            workload.output_shape,
            workload.strides,
            workload.padding,
            dilations=workload.dilations,
            groups=workload.groups,
        )

    return stock.compiled(forward, workload, operation)
