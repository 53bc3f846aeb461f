"""The transposed convolutions of `tf.nn`: equal signatures, equal values, and more accepted.

Beyond TensorFlow: any rank (`conv_transpose`), an `output_shape` that is None (inferred), int64 or
of unknown length, explicit paddings and 'SAME_LOWER' at every rank, dilations and channels-first
data formats on every device and in every dtype.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from conv_transpose_nd import ops


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """`tf.nn.conv_transpose`, for 1 to 6 spatial axes.

    Over all `i` (input) and `k` (filter) with `o + pad_before = i * stride + k * dilation`:

        output[n, o, co] = Σ_i,k,ci input[n, i, ci] * filters[k, co, ci]

    Args:
      input: `[batch, spatial..., in_channels]`, or channels second where `data_format` starts with
        "NC". half, bfloat16, float32, float64 or int32.
      filters: `[spatial..., out_channels, in_channels]` in the dtype of `input`. TensorFlow's
        documentation names the last two the other way round; its code takes this order.
      output_shape: the N+2 lengths of the output, int32 or int64; None infers them as
        `conv_transpose_nd` does.
      strides: >= 1, in output positions: an int, or a list of 1, N or N+2.
      padding: 'SAME', 'VALID', 'SAME_LOWER', or N or N+2 pairs (before, after) >= 0.
      data_format: None or "N...C" for channels last, "NC..." for channels second.
      dilations: >= 1, in output positions, in the forms of `strides`. None is 1.
      name: of the operation; "conv_transpose" if not given.

    Returns:
      A tensor of shape `output_shape` in the dtype of `input`.

    Raises:
      ValueError: where the shapes are static, and tf.errors.InvalidArgumentError else, unless
        `strides >= 1`, `dilations >= 1`, `output_shape` has the batch of `input` and the
        out_channels of `filters`, and per axis `(n - 1) * stride < output length <= n * stride`
        for SAME, with `k_d = (k - 1) * dilation + 1` for other paddings
        `(n - 1) * stride + k_d - pads <= output length < n * stride + k_d - pads`.

    Example:
      >>> x, w = tf.ones([1, 4, 4, 8]), tf.ones([3, 3, 16, 8])
      >>> ct.nn.conv_transpose(x, w, [1, 8, 8, 16], strides=2).shape
      TensorShape([1, 8, 8, 16])

    Reference:
      `tf.nn.conv_transpose`; arXiv:1603.07285, Relationship 14.
    """
    return ops.call(
        "conv_transpose",
        None,
        input,
        filters,
        output_shape,
        strides,
        padding,
        data_format=data_format,
        dilations=dilations,
        name=name,
    )


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """`tf.nn.conv1d_transpose`: `conv_transpose` over one spatial axis.

        output[n, o, co] = Σ_i,k,ci input[n, i, ci] * filters[k, co, ci]

    Args:
      input: `[batch, width, in_channels]`, channels second with "NCW".
      filters: `[width, out_channels, in_channels]` in the dtype of `input`.
      output_shape: the 3 lengths of the output, int32 or int64; None infers them.
      strides: >= 1, in output positions: an int, or a list of 1 or 3.
      padding: 'SAME', 'VALID', 'SAME_LOWER', or 1 or 3 pairs (before, after) >= 0.
      data_format: "NWC" or None for channels last, "NCW" for channels second.
      dilations: >= 1, in output positions, in the forms of `strides`. None is 1.
      name: of the operation; "conv1d_transpose" if not given.

    Returns:
      A tensor of shape `output_shape` in the dtype of `input`.

    Raises:
      ValueError: as `conv_transpose`, and unless `input` and `filters` have rank 3.
      tf.errors.InvalidArgumentError: as `conv_transpose`.

    Example:
      >>> x, w = tf.ones([1, 4, 8]), tf.ones([3, 16, 8])
      >>> ct.nn.conv1d_transpose(x, w, [1, 8, 16], 2).shape
      TensorShape([1, 8, 16])

    Reference:
      `tf.nn.conv1d_transpose`; arXiv:1603.07285, Relationship 14.
    """
    return ops.call(
        "conv1d_transpose",
        1,
        input,
        filters,
        output_shape,
        strides,
        padding,
        data_format=data_format,
        dilations=dilations,
        name=name,
    )


def conv2d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """`tf.nn.conv2d_transpose`: `conv_transpose` over height and width.

        output[n, o, co] = Σ_i,k,ci input[n, i, ci] * filters[k, co, ci]

    Args:
      input: `[batch, height, width, in_channels]`, channels second with "NCHW".
      filters: `[height, width, out_channels, in_channels]` in the dtype of `input`.
      output_shape: the 4 lengths of the output, int32 or int64; None infers them.
      strides: >= 1, in output positions: an int, or a list of 1, 2 or 4.
      padding: 'SAME', 'VALID', 'SAME_LOWER', or 2 or 4 pairs (before, after) >= 0.
      data_format: "NHWC" or None for channels last, "NCHW" for channels second.
      dilations: >= 1, in output positions, in the forms of `strides`. None is 1.
      name: of the operation; "conv2d_transpose" if not given.

    Returns:
      A tensor of shape `output_shape` in the dtype of `input`.

    Raises:
      ValueError: as `conv_transpose`, and unless `input` and `filters` have rank 4.
      tf.errors.InvalidArgumentError: as `conv_transpose`.

    Example:
      >>> x, w = tf.ones([1, 4, 4, 8]), tf.ones([3, 3, 16, 8])
      >>> ct.nn.conv2d_transpose(x, w, [1, 8, 8, 16], 2).shape
      TensorShape([1, 8, 8, 16])

    Reference:
      `tf.nn.conv2d_transpose`; arXiv:1603.07285, Relationship 14.
    """
    return ops.call(
        "conv2d_transpose",
        2,
        input,
        filters,
        output_shape,
        strides,
        padding,
        data_format=data_format,
        dilations=dilations,
        name=name,
    )


def conv3d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> tf.Tensor:
    """`tf.nn.conv3d_transpose`: `conv_transpose` over depth, height and width.

        output[n, o, co] = Σ_i,k,ci input[n, i, ci] * filters[k, co, ci]

    Args:
      input: `[batch, depth, height, width, in_channels]`, channels second with "NCDHW".
      filters: `[depth, height, width, out_channels, in_channels]` in the dtype of `input`.
      output_shape: the 5 lengths of the output, int32 or int64; None infers them.
      strides: >= 1, in output positions: an int, or a list of 1, 3 or 5.
      padding: 'SAME', 'VALID', 'SAME_LOWER', or 3 or 5 pairs (before, after) >= 0.
      data_format: "NDHWC" or None for channels last, "NCDHW" for channels second.
      dilations: >= 1, in output positions, in the forms of `strides`. None is 1.
      name: of the operation; "conv3d_transpose" if not given.

    Returns:
      A tensor of shape `output_shape` in the dtype of `input`.

    Raises:
      ValueError: as `conv_transpose`, and unless `input` and `filters` have rank 5.
      tf.errors.InvalidArgumentError: as `conv_transpose`.

    Example:
      >>> x, w = tf.ones([1, 4, 4, 4, 8]), tf.ones([3, 3, 3, 16, 8])
      >>> ct.nn.conv3d_transpose(x, w, [1, 8, 8, 8, 16], 2).shape
      TensorShape([1, 8, 8, 8, 16])

    Reference:
      `tf.nn.conv3d_transpose`; arXiv:1603.07285, Relationship 14.
    """
    return ops.call(
        "conv3d_transpose",
        3,
        input,
        filters,
        output_shape,
        strides,
        padding,
        data_format=data_format,
        dilations=dilations,
        name=name,
    )
