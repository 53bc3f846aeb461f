"""Stock TensorFlow: tf.nn.conv{1,2,3}d_transpose in a tf.function, the filter as an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Workload


def configure(threads: int) -> None:
    """Fixes the thread pools; once per process, before the first op."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def make(workload: Workload, operation: str, threads: int) -> Callable[[], Any]:
    """TensorFlow's own path, oneDNN as the environment sets it."""
    if workload.groups > 1:
        raise UnsupportedError("stock TensorFlow takes groups on CPU through oneDNN in 2-D only")
    configure(threads)
    import tensorflow as tf

    function = {1: tf.nn.conv1d_transpose, 2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}

    def forward(x: Any, w: Any) -> Any:
        return function[workload.rank](
            x,
            w,
            workload.output_shape,
            workload.strides,
            workload.padding,
            dilations=workload.dilations,
        )

    return compiled(forward, workload, operation)


def compiled(
    forward: Callable[[Any, Any], Any], workload: Workload, operation: str
) -> Callable[[], Any]:
    """`forward` or one of its gradients as a traced function on resident tensors."""
    import tensorflow as tf

    x, w, dy = (tf.constant(array) for array in workload.operands())

    def gradient(x: Any, w: Any, dy: Any) -> Any:
        target = x if operation == "input_grad" else w
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(target)
            y = forward(x, w)
        return tape.gradient(y, target, dy)

    if operation == "forward":
        function = tf.function(forward, autograph=False)
        return lambda: function(x, w)
    function = tf.function(gradient, autograph=False)
    return lambda: function(x, w, dy)
