"""`conv_transpose_nd`, and what `nn`, `compat` and `keras` share with it. Step 1 of a call."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from conv_transpose_nd import _arguments, _operands
from conv_transpose_nd._library import library


def conv_transpose_nd(
    input: Any,
    filters: Any,
    output_shape: Any = None,
    strides: Any = 1,
    padding: Any = "SAME",
    *,
    output_padding: Any = None,
    data_format: str | None = None,
    dilations: Any = 1,
    groups: int = 1,
    bias: Any = None,
    activation: str | None = None,
    name: str | None = None,
) -> tf.Tensor:
    """Transposed convolution over N = 1 to 6 spatial axes, with bias and activation in one pass.

    Over all `i` (input) and `k` (filter) with `o + pad_before = i * stride + k * dilation`:

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci input[n, i, ci] * filters[k, co, ci])

    Args:
      input: `[batch, spatial..., in_channels]`, or `[batch, in_channels, spatial...]` where
        `data_format` starts with "NC". half, bfloat16, float32, float64, or int32 (no gradient).
      filters: `[spatial..., out_channels / groups, in_channels]`, in the dtype of `input`.
      output_shape: the N+2 lengths of the output, int32 or int64: a list, an array or a tensor,
        static or not. Every length is accepted that a convolution maps back to that of `input`.
        None infers them, with `k_d = (k - 1) * dilation + 1`. SAME: `n * stride`, or
        `(n - 1) * stride + k_d - 2 * (k_d // 2) + output_padding` where that is given.
        Else: `(n - 1) * stride + k_d - pads + output_padding`.
      strides: >= 1, output positions per input position: an int, or a list of 1, N or N+2 (in the
        order of `data_format`, with 1 for batch and channels).
      padding: 'SAME' (of an odd total the larger part comes after), 'SAME_LOWER' (before),
        'VALID' (none), or N or N+2 pairs (before, after) >= 0 of output positions.
      output_padding: positions added at the end of the inferred length, >= 0 and < stride: an int,
        or a list of 1 or N. Only without `output_shape`.
      data_format: None or "N...C" for channels last, "NC..." for channels second.
      dilations: >= 1, output positions from one filter tap to the next, in the forms of `strides`.
        1 is dense.
      groups: >= 1. Part g of the input channels maps to part g of the output channels.
      bias: `[out_channels]`, in the dtype of `input`, or None.
      activation: None, 'relu', 'relu6', 'leaky_relu' (slope 0.2), 'elu', 'gelu' (with erf),
        'gelu_tanh', 'sigmoid', 'tanh' or 'silu'. For int32: None, 'relu' or 'relu6'.
      name: of the operation; "conv_transpose_nd" if not given.

    Returns:
      A tensor of shape `output_shape` in the dtype of `input`. Sums are formed in float32, in
      float64 for float64.

    Raises:
      ValueError: where the shapes are static, and tf.errors.InvalidArgumentError else, unless
        `strides >= 1`, `dilations >= 1`, `padding >= 0`, `0 <= output_padding < stride`,
        `filters.shape[-1] == in_channels`, `in_channels % groups == 0`, and per axis
        `(n - 1) * stride + k_d - pads <= output length < n * stride + k_d - pads`
        (SAME: `(n - 1) * stride < output length <= n * stride`).
      TypeError: if strides, padding, dilations, output_padding or groups are not integers.

    Example:
      >>> x = tf.ones([1, 3, 1])
      >>> w = tf.reshape([1.0, 10.0, 100.0], [3, 1, 1])
      >>> ct.conv_transpose_nd(x, w, strides=2, padding="VALID")[0, :, 0].numpy()
      array([  1.,  10., 101.,  10., 101.,  10., 100.], dtype=float32)

    Reference:
      Dumoulin, Visin: A guide to convolution arithmetic for deep learning, arXiv:1603.07285,
      Relationship 14.
    """
    return call(
        "conv_transpose_nd",
        None,
        input,
        filters,
        output_shape,
        strides,
        padding,
        output_padding=output_padding,
        data_format=data_format,
        dilations=dilations,
        groups=groups,
        bias=bias,
        activation=activation,
        name=name,
    )


# AutoGraph would rewrite it, and all that it calls, at every trace; there is nothing to convert.
@tf.autograph.experimental.do_not_convert
def call(
    function: str,
    spatial_rank: int | None,
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any,
    *,
    output_padding: Any = None,
    data_format: str | None = None,
    dilations: Any = None,
    groups: int = 1,
    bias: Any = None,
    activation: str | None = None,
    name: str | None = None,
) -> tf.Tensor:
    """Does what every public function does, for `spatial_rank` axes only unless that is None.

    `function` names the caller: it is the default name of the operation and appears in errors.
    """
    with _scope(name, function, (input, filters, output_shape, bias)) as scope:
        input, filters = _operands.operands(input, filters)
        output_shape = _operands.shape_operand(output_shape)
        hints = _operands.static_length(output_shape), data_format, (strides, dilations, padding)
        rank = _spatial_rank(function, spatial_rank, input, filters, *hints)
        attributes = _arguments.attributes(
            rank, strides, padding, data_format, dilations, output_padding
        )
        return library.conv_transpose_nd(
            input=input,
            filter=filters,
            output_shape=output_shape,
            bias=[] if bias is None else [_operands.to_tensor("bias", bias, input.dtype)],
            strides=attributes.strides,
            padding=attributes.padding,
            dilations=attributes.dilations,
            explicit_paddings=attributes.explicit_paddings,
            output_padding=attributes.output_padding,
            data_format=attributes.data_format,
            groups=_arguments.canonical_groups(groups),
            activation=_arguments.canonical_activation(activation),
            filter_is_constant=_is_constant(filters),
            name=scope,
        )


def _is_constant(filters: tf.Tensor) -> bool:
    """Whether the filter is a constant of the graph at hand: it is packed once then."""
    return tf.is_symbolic_tensor(filters) and filters.op.type == "Const"


def _spatial_rank(
    function: str, spatial_rank: int | None, input: tf.Tensor, filters: tf.Tensor, *hints: Any
) -> int:
    ranks = input.shape.rank, filters.shape.rank
    if spatial_rank is None:
        return _arguments.infer_spatial_rank(*ranks, *hints)
    for name, rank in zip(("input", "filters"), ranks, strict=True):
        if rank is not None and rank != spatial_rank + 2:
            raise ValueError(f"{name} must have rank {spatial_rank + 2} in {function}, got {rank}")
    return spatial_rank


def _scope(name: str | None, default_name: str, values: tuple[Any, ...]) -> Any:
    # Nothing has a name in eager mode, and entering a scope would cost a tenth of a small call.
    if tf.executing_eagerly():
        return contextlib.nullcontext(name or default_name)
    return tf.compat.v1.name_scope(name, default_name, [v for v in values if v is not None])
