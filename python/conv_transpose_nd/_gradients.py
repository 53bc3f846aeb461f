"""Gradients of the three ops: each is bilinear in its tensors, so they are one another's.

With y = T(x, w), dx = C(dy, w) and dw = W(x, dy) for ConvTransposeND, ConvTransposeNDInputGrad and
ConvTransposeNDFilterGrad, and g the gradient of the result:

    dT = {C(g, w), W(x, g)}      dC = {T(g, w), W(g, dy)}      dW = {C(dy, g), T(x, g)}

The fused activation is undone first, from the output where that determines the slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from conv_transpose_nd._library import library

# Terms of a sum that TensorFlow gives to one thread, whatever the number of threads: it starts at
# some 100,000 cycles to split one.
_PART = 1 << 14

# A tf.Operation, or what stands for it on an eager tape.
_Op = Any
_Gradients = list[Any]


def _leaky_relu_grad(grad: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    # The slope is positive, so y has the sign of the argument. TensorFlow's kernel holds the slope
    # in float32, which is not the 0.2 of the forward pass in float64.
    if grad.dtype == tf.float64:
        return tf.where(y > 0, grad, 0.2 * grad)
    return tf.raw_ops.LeakyReluGrad(gradients=grad, features=y, alpha=0.2)


# Gradient with respect to the activation's argument, from `grad` and the activation's output.
_FROM_OUTPUT: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda grad, y: grad,
    "relu": lambda grad, y: tf.raw_ops.ReluGrad(gradients=grad, features=y),
    "relu6": lambda grad, y: tf.raw_ops.Relu6Grad(gradients=grad, features=y),
    "leaky_relu": _leaky_relu_grad,
    "elu": lambda grad, y: tf.raw_ops.EluGrad(gradients=grad, outputs=y),
    "sigmoid": lambda grad, y: tf.raw_ops.SigmoidGrad(y=y, dy=grad),
    "tanh": lambda grad, y: tf.raw_ops.TanhGrad(y=y, dy=grad),
}


def _gelu_slope(z: tf.Tensor) -> tf.Tensor:
    density = tf.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return 0.5 * (1 + tf.math.erf(z * math.sqrt(0.5))) + z * density


def _gelu_tanh_slope(z: tf.Tensor) -> tf.Tensor:
    scale = math.sqrt(2 / math.pi)
    t = tf.tanh(scale * (z + 0.044715 * z * z * z))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * scale * (1 + 3 * 0.044715 * z * z)


def _silu_slope(z: tf.Tensor) -> tf.Tensor:
    s = tf.sigmoid(z)
    return s * (1 + z * (1 - s))


# Slopes at the argument, of activations with which two arguments share an output.
_FROM_ARGUMENT = {"gelu": _gelu_slope, "gelu_tanh": _gelu_tanh_slope, "silu": _silu_slope}


@tf.RegisterGradient("ConvTransposeND")
def _conv_transpose_nd_grad(op: _Op, grad: tf.Tensor) -> _Gradients:
    input, filters, _, *bias = op.inputs
    grad = _activation_grad(op, grad)
    gradients: _Gradients = [None] * len(op.inputs)
    if _needed(op, 0):
        gradients[0] = library.conv_transpose_nd_input_grad(
            output_grad=grad, filter=filters, **_constant_filter(op), **_attributes(op)
        )
    if _needed(op, 1):
        gradients[1] = _filter_grad(op, input, filters, grad)
    if bias and _needed(op, 3):
        gradients[3] = _bias_grad(op, grad)
    return gradients


@tf.RegisterGradient("ConvTransposeNDInputGrad")
def _input_grad_grad(op: _Op, grad: tf.Tensor) -> _Gradients:
    output_grad, filters = op.inputs
    gradients: _Gradients = [None, None]
    if _needed(op, 0):
        gradients[0] = library.conv_transpose_nd(
            input=grad,
            filter=filters,
            output_shape=_shape(output_grad),
            bias=[],
            **_constant_filter(op),
            **_attributes(op),
        )
    if _needed(op, 1):
        gradients[1] = _filter_grad(op, grad, filters, output_grad)
    return gradients


@tf.RegisterGradient("ConvTransposeNDFilterGrad")
def _filter_grad_grad(op: _Op, grad: tf.Tensor) -> _Gradients:
    input, _, output_grad = op.inputs
    gradients: _Gradients = [None, None, None]
    if _needed(op, 0):
        gradients[0] = library.conv_transpose_nd_input_grad(
            output_grad=output_grad, filter=grad, **_attributes(op)
        )
    if _needed(op, 2):
        gradients[2] = library.conv_transpose_nd(
            input=input, filter=grad, output_shape=_shape(output_grad), bias=[], **_attributes(op)
        )
    return gradients


def _filter_grad(op: _Op, input: tf.Tensor, filters: tf.Tensor, output_grad: tf.Tensor) -> Any:
    return library.conv_transpose_nd_filter_grad(
        input=input, filter_shape=_shape(filters), output_grad=output_grad, **_attributes(op)
    )


def _bias_grad(op: _Op, grad: tf.Tensor) -> tf.Tensor:
    """Sum over all axes but the channels; 16-bit types are summed in float32.

    One axis at a time: TensorFlow splits a sum to a scalar between threads, so that its bits would
    depend on their number. (It also takes a fifth of the time of one sum over all axes of
    [8, 128, 128, 64] on two cores with AVX-512.)
    """
    dims = len(op.get_attr("strides"))
    channels_last = tf.compat.as_str(op.get_attr("data_format")) == "CHANNELS_LAST"
    channel = dims - 1 if channels_last else 1
    total = _at_least_float32(grad)
    if dims == 3:
        total = _long_axis_in_parts(total, channel)
        dims, channel = 4, channel + (1 if channels_last else 0)
    for axis in reversed([axis for axis in range(dims) if axis != channel]):
        total = tf.reduce_sum(total, axis)
    return tf.cast(total, grad.dtype)


def _long_axis_in_parts(grad: tf.Tensor, channel: int) -> tf.Tensor:
    """Splits the one spatial axis, padded with zeros, into two, of which the second is short.

    A single channel of a single example is a scalar; its sum is only split if it is long.
    """
    axis = 3 - channel
    parts = -(-tf.shape(grad, out_type=tf.int64)[axis] // _PART)
    short = grad.shape[axis] is not None and grad.shape[axis] <= _PART
    if short or (grad.shape[channel] or 0) > 1:
        return tf.expand_dims(grad, axis)
    missing = parts * _PART - tf.shape(grad, out_type=tf.int64)[axis]
    padded = tf.pad(grad, [[0, missing if d == axis else 0] for d in range(3)])
    sizes = [*tf.unstack(tf.shape(padded, out_type=tf.int64))]
    sizes[axis : axis + 1] = [parts, tf.constant(_PART, tf.int64)]
    return tf.reshape(padded, tf.stack(sizes))


def _activation_grad(op: _Op, grad: tf.Tensor) -> tf.Tensor:
    """Gradient with respect to the activation's argument."""
    activation = tf.compat.as_str(op.get_attr("activation"))
    if activation in _FROM_OUTPUT:
        return _FROM_OUTPUT[activation](grad, op.outputs[0])
    input, filters, _, *bias = op.inputs
    # One more forward pass, instead of a second output that inference would have to store.
    argument = library.conv_transpose_nd(
        input=input,
        filter=filters,
        output_shape=_shape(grad),
        bias=bias,
        **_constant_filter(op),
        **_attributes(op),
    )
    slope = _FROM_ARGUMENT[activation](_at_least_float32(argument))
    return tf.cast(_at_least_float32(grad) * slope, grad.dtype)


def _attributes(op: _Op) -> dict[str, Any]:
    """What the three ops share. Not output_padding: in gradients the output's shape is given."""
    return {
        "strides": op.get_attr("strides"),
        "dilations": op.get_attr("dilations"),
        "padding": tf.compat.as_str(op.get_attr("padding")),
        "explicit_paddings": op.get_attr("explicit_paddings"),
        "data_format": tf.compat.as_str(op.get_attr("data_format")),
        "groups": op.get_attr("groups"),
    }


def _constant_filter(op: _Op) -> dict[str, bool]:
    return {"filter_is_constant": op.get_attr("filter_is_constant")}


def _needed(op: _Op, index: int) -> bool:
    """False only where an eager tape does not watch this input; a graph drops what is not read."""
    return index not in (getattr(op, "skip_input_indices", None) or ())


def _shape(tensor: tf.Tensor) -> Any:
    # int64, because a dimension may exceed int32.
    return tf.shape(tensor, out_type=tf.int64)


def _at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor
