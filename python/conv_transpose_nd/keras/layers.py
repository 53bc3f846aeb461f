"""Keras' transposed convolution layers on this package's op, with `groups`, and one of any rank.

Longer than most files, for Keras' signatures have to be spelled out for each rank.
"""

from __future__ import annotations

from typing import Any

import keras

from conv_transpose_nd.keras._layer import ConvTransposeND

__all__ = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "ConvTransposeND"]


class _FixedRank(ConvTransposeND):
    """A layer whose class tells its rank."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, of which `rank` is none."""
        config = super().get_config()
        del config["rank"]
        return config


@keras.saving.register_keras_serializable("conv_transpose_nd")
class Conv1DTranspose(_FixedRank):
    """`keras.layers.Conv1DTranspose` on this package's op: `ConvTransposeND` over one spatial axis.

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci])

    over all `i`, `k` with `o + crop = i * stride + k * dilation_rate`. Inputs are
    `[batch, steps, in_channels]`, the kernel is
    `[width, filters / groups, in_channels]`.

    Args:
      filters: >= 1, the number of output channels.
      kernel_size: >= 1, taps per axis: an int, or a list of 1.
      strides: >= 1, output positions per input position, in the forms of `kernel_size`.
      padding: 'valid' or 'same', in any letter case.
      output_padding: None, or output positions added at the end, >= 0 and < strides.
      data_format: 'channels_last' or 'channels_first'; None is
        `keras.config.image_data_format()`.
      dilation_rate: >= 1, output positions from one tap to the next; above 1 together with
        `strides` above 1 is fine.
      activation: a function, or the name of one of Keras' activations; `ConvTransposeND` says which
        are computed inside the op.
      use_bias: whether there is a bias.
      kernel_initializer: of the kernel; see `initializers.ICNR`.
      bias_initializer: of the bias.
      kernel_regularizer: of the kernel, or None.
      bias_regularizer: of the bias, or None.
      activity_regularizer: of the output, or None.
      kernel_constraint: of the kernel, or None.
      bias_constraint: of the bias, or None.
      groups: >= 1, a divisor of `filters` and of the input channels.
      **kwargs: of `keras.layers.Layer`: trainable, name, dtype, autocast.

    Raises:
      ValueError: as `ConvTransposeND`.
      TypeError: as `ConvTransposeND`.

    Example:
      >>> layer = ct.keras.layers.Conv1DTranspose(2, 3, strides=2, padding="same")
      >>> layer(np.ones([1, 4, 8])).shape
      TensorShape([1, 8, 2])

    Reference:
      `keras.layers.Conv1DTranspose`; arXiv:1603.07285, Relationship 14.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            rank=1,
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            output_padding=output_padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            groups=groups,
            **kwargs,
        )


@keras.saving.register_keras_serializable("conv_transpose_nd")
class Conv2DTranspose(_FixedRank):
    """`keras.layers.Conv2DTranspose` on this package's op: `ConvTransposeND` over height and width.

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci])

    over all `i`, `k` with `o + crop = i * stride + k * dilation_rate`. Inputs are
    `[batch, height, width, in_channels]`, the kernel is
    `[height, width, filters / groups, in_channels]`.

    Args:
      filters: >= 1, the number of output channels.
      kernel_size: >= 1, taps per axis: an int, or a list of 2.
      strides: >= 1, output positions per input position, in the forms of `kernel_size`.
      padding: 'valid' or 'same', in any letter case.
      output_padding: None, or output positions added at the end, >= 0 and < strides.
      data_format: 'channels_last' or 'channels_first'; None is
        `keras.config.image_data_format()`.
      dilation_rate: >= 1, output positions from one tap to the next; above 1 together with
        `strides` above 1 is fine.
      activation: a function, or the name of one of Keras' activations; `ConvTransposeND` says which
        are computed inside the op.
      use_bias: whether there is a bias.
      kernel_initializer: of the kernel; see `initializers.ICNR`.
      bias_initializer: of the bias.
      kernel_regularizer: of the kernel, or None.
      bias_regularizer: of the bias, or None.
      activity_regularizer: of the output, or None.
      kernel_constraint: of the kernel, or None.
      bias_constraint: of the bias, or None.
      groups: >= 1, a divisor of `filters` and of the input channels.
      **kwargs: of `keras.layers.Layer`: trainable, name, dtype, autocast.

    Raises:
      ValueError: as `ConvTransposeND`.
      TypeError: as `ConvTransposeND`.

    Example:
      >>> layer = ct.keras.layers.Conv2DTranspose(2, 3, strides=2, padding="same")
      >>> layer(np.ones([1, 4, 5, 8])).shape
      TensorShape([1, 8, 10, 2])

    Reference:
      `keras.layers.Conv2DTranspose`; arXiv:1603.07285, Relationship 14.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            rank=2,
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            output_padding=output_padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            groups=groups,
            **kwargs,
        )


@keras.saving.register_keras_serializable("conv_transpose_nd")
class Conv3DTranspose(_FixedRank):
    """`keras.layers.Conv3DTranspose` on this package's op: `ConvTransposeND` over 3 spatial axes.

        output[n, o, co] = activation(bias[co] + Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci])

    over all `i`, `k` with `o + crop = i * stride + k * dilation_rate`. Inputs are
    `[batch, depth, height, width, in_channels]`, the kernel is
    `[depth, height, width, filters / groups, in_channels]`.

    Args:
      filters: >= 1, the number of output channels.
      kernel_size: >= 1, taps per axis: an int, or a list of 3.
      strides: >= 1, output positions per input position, in the forms of `kernel_size`.
      padding: 'valid' or 'same', in any letter case.
      data_format: 'channels_last' or 'channels_first'; None is
        `keras.config.image_data_format()`.
      output_padding: None, or output positions added at the end, >= 0 and < strides.
      dilation_rate: >= 1, output positions from one tap to the next; above 1 together with
        `strides` above 1 is fine.
      activation: a function, or the name of one of Keras' activations; `ConvTransposeND` says which
        are computed inside the op.
      use_bias: whether there is a bias.
      kernel_initializer: of the kernel; see `initializers.ICNR`.
      bias_initializer: of the bias.
      kernel_regularizer: of the kernel, or None.
      bias_regularizer: of the bias, or None.
      activity_regularizer: of the output, or None.
      kernel_constraint: of the kernel, or None.
      bias_constraint: of the bias, or None.
      groups: >= 1, a divisor of `filters` and of the input channels.
      **kwargs: of `keras.layers.Layer`: trainable, name, dtype, autocast.

    Raises:
      ValueError: as `ConvTransposeND`.
      TypeError: as `ConvTransposeND`.

    Example:
      >>> layer = ct.keras.layers.Conv3DTranspose(2, 3, strides=2, padding="same")
      >>> layer(np.ones([1, 4, 5, 6, 8])).shape
      TensorShape([1, 8, 10, 12, 2])

    Reference:
      `keras.layers.Conv3DTranspose`; arXiv:1603.07285, Relationship 14.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Any = None,
        dilation_rate: Any = (1, 1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            rank=3,
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            output_padding=output_padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            groups=groups,
            **kwargs,
        )
