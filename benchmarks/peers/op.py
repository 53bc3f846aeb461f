"""This project's op in a tf.function: the filter as an argument, or as a constant of the graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers import UnsupportedError
from benchmarks.peers import tensorflow as stock
from benchmarks.workload import Case

_DISPATCH_CALLS = 50
_OPERANDS = {
    "forward": ("input", "filter"),
    "input_grad": ("output_grad", "filter"),
    "filter_grad": ("input", "output_grad"),
}


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """Like the stock peer, with `conv_transpose_nd` for `tf.nn`."""
    stock.configure(case.threads)
    if constant:
        return _constant(case)
    import conv_transpose_nd as ct

    workload = case.workload

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

    return stock.compiled(forward, case)


def _constant(case: Case) -> Callable[[], Any]:
    """The raw ops, told that the filter is constant: what is packed of it is kept."""
    if case.operation == "filter_grad":
        raise UnsupportedError("a constant has no gradient")
    import tensorflow as tf

    from conv_transpose_nd._library import library

    workload = case.workload
    attributes = {
        "strides": [1, *workload.strides, 1],
        "padding": workload.padding,
        "dilations": [1, *workload.dilations, 1],
        "groups": workload.groups,
        "filter_is_constant": True,
    }
    array = case.operand("filter")

    def forward(x: Any) -> Any:
        shape = tf.constant(workload.output_shape)
        return library.conv_transpose_nd(
            input=x, filter=tf.constant(array), output_shape=shape, bias=[], **attributes
        )

    def gradient(dy: Any) -> Any:
        return library.conv_transpose_nd_input_grad(
            output_grad=dy, filter=tf.constant(array), **attributes
        )

    is_forward = case.operation == "forward"
    function = tf.function(forward if is_forward else gradient, autograph=False)
    operand = tf.constant(case.operand("input" if is_forward else "output_grad"))
    return stock.bound(function, operand)


def facts(case: Case) -> dict[str, float]:
    """What TensorFlow takes at least to call a function that does nothing, in this process.

    Other libraries prepare meanwhile.
    """
    import tensorflow as tf

    operands = [tf.constant(case.operand(name)) for name in _OPERANDS[case.operation]]
    call = stock.bound(tf.function(lambda x, w: tf.identity(x), autograph=False), *operands)
    times = []
    for _ in range(_DISPATCH_CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return {"dispatch_ms": min(times) * 1e3}
