"""The transposed convolutions of `tf.compat.v1.nn`: equal signatures, values as `nn`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from conv_transpose_nd import ops
from conv_transpose_nd.nn import conv1d_transpose, conv_transpose

__all__ = ["conv1d_transpose", "conv2d_transpose", "conv3d_transpose", "conv_transpose"]


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> tf.Tensor:
    """`tf.compat.v1.nn.conv2d_transpose`: `nn.conv2d_transpose` with the earlier names.

        output[n, o, co] = Σ_i,k,ci value[n, i, ci] * filter[k, co, ci]

    Args:
      value: `[batch, height, width, in_channels]`, channels second with "NCHW".
      filter: `[height, width, out_channels, in_channels]` in the dtype of `value`.
      output_shape: the 4 lengths of the output, int32 or int64; None infers them.
      strides: >= 1, in output positions: an int, or a list of 1, 2 or 4. None is 1.
      padding: 'SAME', 'VALID', 'SAME_LOWER', or 2 or 4 pairs (before, after) >= 0.
      data_format: "NHWC" or None for channels last, "NCHW" for channels second.
      name: of the operation; "conv2d_transpose" if not given.
      input: another name of `value`.
      filters: another name of `filter`.
      dilations: >= 1, in output positions, in the forms of `strides`. None is 1.

    Returns:
      A tensor of shape `output_shape` in the dtype of `value`.

    Raises:
      ValueError: as `nn.conv2d_transpose`, and unless exactly one of `value` and `input`, and one
        of `filter` and `filters`, is given.
      tf.errors.InvalidArgumentError: as `nn.conv2d_transpose`.

    Example:
      >>> x, w = tf.ones([1, 4, 4, 8]), tf.ones([3, 3, 16, 8])
      >>> ct.compat.v1.nn.conv2d_transpose(x, w, [1, 8, 8, 16], [1, 2, 2, 1]).shape
      TensorShape([1, 8, 8, 16])

    Reference:
      `tf.compat.v1.nn.conv2d_transpose`; arXiv:1603.07285, Relationship 14.
    """
    return ops.call(
        "conv2d_transpose",
        2,
        _either("value", value, "input", input),
        _either("filter", filter, "filters", filters),
        output_shape,
        strides,
        padding,
        data_format=data_format,
        dilations=dilations,
        name=name,
    )


def conv3d_transpose(
    value: Any,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str | None = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> tf.Tensor:
    """`tf.compat.v1.nn.conv3d_transpose`: `nn.conv3d_transpose` with the earlier names.

        output[n, o, co] = Σ_i,k,ci value[n, i, ci] * filter[k, co, ci]

    Args:
      value: `[batch, depth, height, width, in_channels]`, channels second with "NCDHW".
      filter: `[depth, height, width, out_channels, in_channels]` in the dtype of `value`.
      output_shape: the 5 lengths of the output, int32 or int64; None infers them.
      strides: >= 1, in output positions: an int, or a list of 1, 3 or 5. None is 1.
      padding: 'SAME', 'VALID', 'SAME_LOWER', or 3 or 5 pairs (before, after) >= 0.
      data_format: "NDHWC" or None for channels last, "NCDHW" for channels second.
      name: of the operation; "conv3d_transpose" if not given.
      input: another name of `value`.
      filters: another name of `filter`.
      dilations: >= 1, in output positions, in the forms of `strides`. None is 1.

    Returns:
      A tensor of shape `output_shape` in the dtype of `value`.

    Raises:
      ValueError: as `nn.conv3d_transpose`, and unless exactly one of `value` and `input`, and one
        of `filter` and `filters`, is given.
      tf.errors.InvalidArgumentError: as `nn.conv3d_transpose`.

    Example:
      >>> x, w = tf.ones([1, 4, 4, 4, 8]), tf.ones([3, 3, 3, 16, 8])
      >>> ct.compat.v1.nn.conv3d_transpose(x, w, [1, 8, 8, 8, 16], [1, 2, 2, 2, 1]).shape
      TensorShape([1, 8, 8, 8, 16])

    Reference:
      `tf.compat.v1.nn.conv3d_transpose`; arXiv:1603.07285, Relationship 14.
    """
    return ops.call(
        "conv3d_transpose",
        3,
        _either("value", value, "input", input),
        _either("filter", filter, "filters", filters),
        output_shape,
        strides,
        padding,
        data_format=data_format,
        dilations=dilations,
        name=name,
    )


def _either(old_name: str, old: Any, new_name: str, new: Any) -> Any:
    if old is not None and new is not None:
        # TensorFlow's words.
        raise ValueError(f"Cannot specify both '{old_name}' and '{new_name}'.")
    if old is None and new is None:
        raise ValueError(f"'{old_name}' or '{new_name}' must be given, got None for both")
    return new if old is None else old
