"""`keras.ops.conv_transpose` on this package's op."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from conv_transpose_nd import ops
from conv_transpose_nd.keras import _options, _shapes

__all__ = ["ConvTranspose", "conv_transpose"]


@tf.autograph.experimental.do_not_convert
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`keras.ops.conv_transpose`, for 1 to 6 spatial axes.

    Over all `i` (input) and `k` (kernel) with `o + crop = i * stride + k * dilation_rate`, where
    `crop` positions are cut off before the first output position (none with 'valid'):

        output[n, o, co] = Σ_i,k,ci inputs[n, i, ci] * kernel[k, co, ci]

    Args:
      inputs: `[batch, spatial..., in_channels]`, or `[batch, in_channels, spatial...]` with
        'channels_first'. A tensor, array or KerasTensor.
      kernel: `[spatial..., out_channels, in_channels]` in the dtype of `inputs`.
      strides: >= 1, output positions per input position: an int, or one per spatial axis.
      padding: 'valid' or 'same', in any letter case.
      output_padding: None, or output positions added at the end: an int, or one per spatial axis.
      data_format: 'channels_last' or 'channels_first'; None is
        `keras.config.image_data_format()`.
      dilation_rate: >= 1, output positions from one kernel tap to the next, in the forms of
        `strides`; above 1 together with `strides` above 1 is fine.

    Returns:
      A tensor in the dtype of `inputs`, a KerasTensor where an argument is one. With
      `k_d = (k - 1) * dilation_rate + 1` its spatial lengths are, for 'valid',
      `(n - 1) * stride + max(k_d, stride)`, or `(n - 1) * stride + k_d + output_padding` where that
      is given, and for 'same' `n * stride`, or `(n - 1) * stride + k_d % 2 + output_padding`.

    Raises:
      ValueError: for KerasTensors and tensors alike, unless `strides >= 1`, `dilation_rate >= 1`,
        `kernel.shape[-1] == in_channels`, both have the same rank and dtype, and
        `0 <= output_padding < stride` for 'valid',
        `1 <= k_d % 2 + output_padding <= stride` for 'same'.
      TypeError: if strides, output_padding or dilation_rate are not integers.

    Example:
      >>> x, kernel = np.ones([1, 4, 4, 8]), np.ones([3, 3, 16, 8])
      >>> ct.keras.ops.conv_transpose(x, kernel, strides=2, padding="same").shape
      TensorShape([1, 8, 8, 16])

    Reference:
      `keras.ops.conv_transpose`; arXiv:1603.07285, Relationship 14.
    """
    if keras.utils.is_keras_tensor(inputs) or keras.utils.is_keras_tensor(kernel):
        operation = ConvTranspose(strides, padding, output_padding, data_format, dilation_rate)
        return operation.symbolic_call(inputs, kernel)
    return _eager(inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)


@keras.saving.register_keras_serializable("conv_transpose_nd")
class ConvTranspose(keras.Operation):
    """`conv_transpose` as a node of a functional Keras model. The arguments are as there."""

    def __init__(
        self,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        # Now: a model that is saved must not depend on Keras' configuration where it is loaded.
        data_format = _options.canonical_data_format(data_format)
        self._arguments = (strides, padding, output_padding, data_format, dilation_rate)

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, kernel: Any) -> tf.Tensor:
        """Runs the op on tensors."""
        return _eager(inputs, kernel, *self._arguments)

    def compute_output_spec(self, inputs: Any, kernel: Any) -> keras.KerasTensor:
        """Returns shape and dtype of the output, or raises the error that `call` would raise."""
        inputs, kernel = (
            value if keras.utils.is_keras_tensor(value) else keras.ops.convert_to_tensor(value)
            for value in (inputs, kernel)
        )
        check_dtypes(inputs.dtype, kernel.dtype)
        shapes = tuple(inputs.shape), tuple(kernel.shape)
        options = _options.canonical(_spatial_rank(*shapes), *self._arguments)
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        return keras.KerasTensor(_shapes.output_shape(options, *shapes), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = "strides", "padding", "output_padding", "data_format", "dilation_rate"
        return {"name": self.name, **dict(zip(names, self._arguments, strict=True))}


def convolve(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    options: _options.Options,
    bias: tf.Tensor | None = None,
    activation: str | None = None,
) -> tf.Tensor:
    """Runs the op on tensors; what functions and layers share."""
    check_dtypes(inputs.dtype, kernel.dtype)
    kernel_shape = tuple(kernel.shape)
    rank = len(options.strides)
    input_shape = (None,) * (rank + 2) if inputs.shape.rank is None else tuple(inputs.shape)
    shape = _shapes.output_shape(options, input_shape, kernel_shape)
    arguments = _shapes.op_arguments(options, kernel_shape)
    output = ops.call(
        "conv_transpose",
        rank,
        inputs,
        kernel,
        None,
        bias=bias,
        activation=activation,
        **arguments,
    )
    output.set_shape(shape)
    return output


def check_dtypes(inputs: Any, kernel: Any) -> None:
    """Raises ValueError unless both are one dtype."""
    inputs, kernel = (keras.backend.standardize_dtype(dtype) for dtype in (inputs, kernel))
    if inputs != kernel:
        raise ValueError(f"kernel must have the dtype of inputs, {inputs}, got {kernel}")


def _eager(inputs: Any, kernel: Any, *arguments: Any) -> tf.Tensor:
    inputs, kernel = (keras.ops.convert_to_tensor(value) for value in (inputs, kernel))
    input_shape = None if inputs.shape.rank is None else tuple(inputs.shape)
    options = _options.canonical(_spatial_rank(input_shape, tuple(kernel.shape)), *arguments)
    return convolve(inputs, kernel, options)


def _spatial_rank(input_shape: _options.Shape | None, kernel_shape: _options.Shape) -> int:
    """N of shapes with N + 2 dimensions. That of `inputs` may have no known rank."""
    rank = len(kernel_shape if input_shape is None else input_shape)
    if rank < 3:
        raise ValueError(
            "inputs must have rank N + 2 with N >= 1 spatial axes, got shape "
            f"{kernel_shape if input_shape is None else input_shape}"
        )
    return rank - 2
