"""The time of one transposed convolution, with this op and with stock TensorFlow, in turns."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from conv_transpose_nd import _arguments
from conv_transpose_nd._explain.call import Call
from conv_transpose_nd._explain.result import Times
from conv_transpose_nd._library import library
from conv_transpose_nd.saved_model import _verify

_TURN_SECONDS = 0.004
_MAX_TURNS = 200
# Constants of a graph lie in one message, which holds 2 GB at most.
_MAX_CONSTANT_BYTES = 1 << 30
_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "leaky_relu": tf.nn.leaky_relu,
    "elu": tf.nn.elu,
    "gelu": tf.nn.gelu,
    "gelu_tanh": functools.partial(tf.nn.gelu, approximate=True),
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "silu": tf.nn.silu,
}
_STOCK = {1: tf.nn.conv1d_transpose, 2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}
_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


def threads() -> int:
    """That TensorFlow's ops may use."""
    chosen: int = tf.config.threading.get_intra_op_parallelism_threads()
    return chosen or len(os.sched_getaffinity(0))


def measure(call: Call, seconds: float) -> Times:
    """Runs both on the CPU for about `seconds` in all, on equal random operands."""
    with tf.device("/CPU:0"):  # that is what the plan is for
        return _measure(call, seconds)


def _measure(call: Call, seconds: float) -> Times:
    operands = _operands(call)
    ours = _compiled(functools.partial(_ours, call), call, operands)
    result = ours()
    stock, note = None, ""
    if call.rank not in _STOCK:
        note = f"stock TensorFlow has no transposed convolution over {call.rank} axes"
    else:
        stock = _compiled(functools.partial(_stock, call), call, operands)
        try:
            note = _complaint(call, stock(), result)
        # Whatever stock TensorFlow raises for a call that it lacks: the text says what it was.
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            stock, note = None, f"stock TensorFlow: {lines[0] if lines else repr(error)}"[:300]
    medians = _in_turns([ours] if stock is None else [ours, stock], seconds)
    return Times(medians[0] * 1e3, medians[1] * 1e3 if stock is not None else None, note)


def _operands(call: Call) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    shapes = call.input_shape, call.filter_shape, [call.channels(call.output_shape)]
    arrays: list[Any] = [
        rng.integers(-4, 5, shape)
        if call.dtype == "int32"
        else rng.standard_normal(shape, np.float32)
        for shape in shapes
    ]
    dtype = tf.as_dtype(call.dtype)
    return tuple(array.astype(dtype.as_numpy_dtype) for array in arrays)


def _compiled(function: Callable[..., Any], call: Call, operands: Any) -> Callable[[], Any]:
    """A traced function on resident tensors; the filter is a constant of it where it is one."""
    x, w, b = operands
    x = tf.constant(x)
    if call.filter_is_constant and w.nbytes < _MAX_CONSTANT_BYTES:
        inner = tf.function(lambda x: function(x, tf.constant(w), b), autograph=False)
        return lambda: inner(x)
    inner = tf.function(lambda x, w: function(x, w, b), autograph=False)
    resident = tf.constant(w)
    return lambda: inner(x, resident)


def _ours(call: Call, x: Any, w: Any, b: Any) -> Any:
    attributes = _arguments.attributes(
        call.rank, call.strides, call.padding, call.data_format, call.dilations, None
    )
    return library.conv_transpose_nd(
        input=x,
        filter=w,
        output_shape=tf.constant(call.output_shape),
        bias=[b] if call.bias else [],
        strides=attributes.strides,
        padding=attributes.padding,
        dilations=attributes.dilations,
        explicit_paddings=attributes.explicit_paddings,
        data_format=attributes.data_format,
        groups=call.groups,
        activation=call.activation,
        filter_is_constant=call.filter_is_constant,
    )


def _stock(call: Call, x: Any, w: Any, b: Any) -> Any:
    first = call.data_format == "CHANNELS_FIRST"
    padding = call.padding
    if not isinstance(padding, str):
        padding = [[0, 0], [0, 0], *padding] if first else [[0, 0], *padding, [0, 0]]
    y = _STOCK[call.rank](
        x,
        w,
        call.output_shape,
        call.strides,
        padding,
        data_format=_FORMATS[call.rank][first],
        dilations=call.dilations,
    )
    if call.bias:
        y = tf.nn.bias_add(y, b, data_format="NC..." if first else "N...C")
    return _ACTIVATIONS.get(call.activation, lambda z: z)(y)


def _complaint(call: Call, stock: Any, ours: Any) -> str:
    difference = _verify.largest_difference([stock.numpy()], [ours.numpy()])
    allowed = _verify.allowed_difference([call.dtype])
    if difference <= allowed:
        return ""
    return f"the results differ by {difference:.2g} of the largest, allowed are {allowed:.2g}"


def _in_turns(calls: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Medians. In turns, so that a change of the machine's speed meets all."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    turns = 0
    while not turns or (time.perf_counter() < end and turns < _MAX_TURNS):
        turns += 1
        for call, measured in zip(calls, times, strict=True):
            call()  # brings the caches back
            until = time.perf_counter() + _TURN_SECONDS
            start = 0.0
            while start < until:
                start = time.perf_counter()
                call()
                now = time.perf_counter()
                measured.append(now - start)
                start = now
    return [float(np.median(one)) for one in times]
