"""Stock TensorFlow: tf.nn.conv{1,2,3}d_transpose in a tf.function. The environment sets oneDNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case

_configured: list[int] = []


def configure(threads: int) -> None:
    """Fixes the thread pools; once per process, before the first op."""
    if _configured:
        return
    _configured.append(threads)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def make(case: Case, constant: bool, jit_compile: bool = False) -> Callable[[], Any]:
    """TensorFlow's own path."""
    workload = case.workload
    configure(case.threads)
    import tensorflow as tf

    functions = {1: tf.nn.conv1d_transpose, 2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}
    function = functions[workload.rank]

    def forward(x: Any, w: Any) -> Any:
        return function(
            x,
            w,
            workload.output_shape,
            workload.strides,
            workload.padding,
            dilations=workload.dilations,
        )

    return compiled(forward, case, constant, jit_compile)


def compiled(
    forward: Callable[[Any, Any], Any],
    case: Case,
    constant: bool = False,
    jit_compile: bool = False,
) -> Callable[[], Any]:
    """`forward` or one of its gradients as a traced function on resident tensors."""
    import tensorflow as tf

    workload = case.workload
    if case.operation == "forward":
        x, w = tf.constant(case.operand("input")), case.operand("filter")
        if constant:
            inner = tf.function(
                lambda x: forward(x, tf.constant(w)), autograph=False, jit_compile=jit_compile
            )
            return bound(inner, x)
        function = tf.function(forward, autograph=False, jit_compile=jit_compile)
        return bound(function, x, tf.constant(w))
    if constant:
        raise UnsupportedError("only the forward call is measured with a constant filter")

    def gradient(x: Any, w: Any, dy: Any) -> Any:
        target = x if case.operation == "input_grad" else w
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(target)
            y = forward(x, w)
        return tape.gradient(y, target, dy)

    # Of the operand that is not read only the shape counts.
    if case.operation == "input_grad":
        x, w = tf.zeros(workload.input_shape, case.dtype), tf.constant(case.operand("filter"))
    else:
        x, w = tf.constant(case.operand("input")), tf.zeros(workload.filter_shape, case.dtype)
    dy = tf.constant(case.operand("output_grad"))
    function = tf.function(gradient, autograph=False, jit_compile=jit_compile)
    return bound(function, x, w, dy)


def bound(function: Any, *operands: Any) -> Callable[[], Any]:
    """A call of the function traced for these operands, as a server makes it."""
    concrete = function.get_concrete_function(*operands)
    return lambda: concrete(*operands)


def to_tensorflow(tensor: Any, case: Case) -> np.ndarray:
    """A NumPy array."""
    return tensor.numpy()
