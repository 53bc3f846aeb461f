"""`Conv3DTranspose` and `conv3d_transpose` as TF1's `tf.layers` had them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from conv_transpose_nd.compat.v1._conv_transpose import ConvTranspose

_ZEROS = tf.compat.v1.zeros_initializer()


class Conv3DTranspose(ConvTranspose):
    """TF1's `tf.layers.Conv3DTranspose`.

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci])

    over all `i`, `k` with `o + crop = i * stride + k`. Inputs are
    `[batch, depth, height, width, in_channels]`, or channels second. Variables are `kernel`,
    `[depth, height, width, filters, in_channels]`, and `bias`, `[filters]`, in a variable scope
    `conv3d_transpose` unless `name` gives another.

    Args:
      filters: >= 1, the number of output channels.
      kernel_size: >= 1, taps per axis: an int, or a list of 3.
      strides: >= 1, output positions per input position, in the forms of `kernel_size`.
      padding: 'valid' or 'same', in any letter case.
      data_format: 'channels_last' or 'channels_first'.
      activation: None, a function of a tensor, or the name of a Keras activation.
      use_bias: whether there is a bias.
      kernel_initializer: of `kernel`; None is that of the variable scope, or glorot_uniform.
      bias_initializer: of `bias`.
      kernel_regularizer: function of `kernel` whose value is a loss, or None.
      bias_regularizer: function of `bias` whose value is a loss, or None.
      activity_regularizer: function of the output, whose value per example is a loss, or None.
      kernel_constraint: function that optimizers apply to `kernel` after an update, or None.
      bias_constraint: function that optimizers apply to `bias` after an update, or None.
      trainable: whether the variables are in the collection TRAINABLE_VARIABLES.
      name: of the layer and its variable scope.
      **kwargs: dtype (None: that of the first input), dilation_rate, output_padding, groups.

    Raises:
      ValueError: unless `filters >= 1`, `kernel_size >= 1`, `strides >= 1`; when called, unless the
        inputs have rank 5 and a known number of channels.
      TypeError: if one of these is not an integer, or an argument is unknown.

    Example:
      >>> with tf.Graph().as_default():
      ...     layer = ct.compat.v1.layers.Conv3DTranspose(2, 3, strides=2, padding="same")
      ...     y = layer(tf.ones([1, 4, 5, 6, 8]))
      ...     layer.kernel.op.name, y.shape.as_list()
      ('conv3d_transpose/kernel', [1, 8, 10, 12, 2])

    Reference:
      TensorFlow 1.15, `tf.layers.Conv3DTranspose`; arXiv:1603.07285, Relationship 14.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1, 1),
        padding: str = "valid",
        data_format: str = "channels_last",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = _ZEROS,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            3,
            "conv3d_transpose",
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            trainable=trainable,
            name=name,
            **kwargs,
        )


def conv3d_transpose(
    inputs: Any,
    filters: int,
    kernel_size: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    activation: Any = None,
    use_bias: bool = True,
    kernel_initializer: Any = None,
    bias_initializer: Any = _ZEROS,
    kernel_regularizer: Any = None,
    bias_regularizer: Any = None,
    activity_regularizer: Any = None,
    kernel_constraint: Any = None,
    bias_constraint: Any = None,
    trainable: bool = True,
    name: Any = None,
    reuse: Any = None,
) -> tf.Tensor:
    """TF1's `tf.layers.conv3d_transpose`: makes a `Conv3DTranspose` and applies it.

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci])

    over all `i`, `k` with `o + crop = i * stride + k`.

    Args:
      inputs: `[batch, depth, height, width, in_channels]`, or channels second.
      filters: >= 1, the number of output channels.
      kernel_size: >= 1, taps per axis: an int, or a list of 3.
      strides: >= 1, output positions per input position, in the forms of `kernel_size`.
      padding: 'valid' or 'same', in any letter case.
      data_format: 'channels_last' or 'channels_first'.
      activation: None, a function of a tensor, or the name of a Keras activation.
      use_bias: whether there is a bias.
      kernel_initializer: of `kernel`; None is that of the variable scope, or glorot_uniform.
      bias_initializer: of `bias`.
      kernel_regularizer: function of `kernel` whose value is a loss, or None.
      bias_regularizer: function of `bias` whose value is a loss, or None.
      activity_regularizer: function of the output, whose value per example is a loss, or None.
      kernel_constraint: function that optimizers apply to `kernel` after an update, or None.
      bias_constraint: function that optimizers apply to `bias` after an update, or None.
      trainable: whether the variables are in the collection TRAINABLE_VARIABLES.
      name: of the layer and its variable scope; needed to reuse variables.
      reuse: True takes the variables of an earlier layer of that `name`, tf.compat.v1.AUTO_REUSE
        where there are some.

    Returns:
      The output, `[batch, depth, height, width, filters]`, or channels second. Its lengths are
      `n * stride` with 'same', `(n - 1) * stride + max(kernel_size, stride)` with 'valid'.

    Raises:
      ValueError: as `Conv3DTranspose`; and where variables exist without, or do not exist with
        `reuse`.
      TypeError: as `Conv3DTranspose`.

    Example:
      >>> with tf.Graph().as_default():
      ...     x = tf.ones([1, 4, 5, 6, 8])
      ...     y = ct.compat.v1.layers.conv3d_transpose(x, 2, 3, strides=2, name="up")
      ...     tf.compat.v1.trainable_variables("up")[0].name, y.shape.as_list()
      ('up/kernel:0', [1, 9, 11, 13, 2])

    Reference:
      TensorFlow 1.15, `tf.layers.conv3d_transpose`; arXiv:1603.07285, Relationship 14.
    """
    layer = Conv3DTranspose(
        filters=filters,
        kernel_size=kernel_size,
        strides=strides,
        padding=padding,
        data_format=data_format,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=kernel_initializer,
        bias_initializer=bias_initializer,
        kernel_regularizer=kernel_regularizer,
        bias_regularizer=bias_regularizer,
        activity_regularizer=activity_regularizer,
        kernel_constraint=kernel_constraint,
        bias_constraint=bias_constraint,
        trainable=trainable,
        name=name,
        _reuse=reuse,
        _scope=name,
    )
    return layer(inputs)
