"""Tensors, variables, arrays and lists -> the op's tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from conv_transpose_nd import _arguments

_DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int32)
_INFER = np.empty(0, np.int32)  # the output_shape with which the op infers it
_INT32_MAX = 2**31 - 1


def operands(input: Any, filters: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Converts both to one dtype, chosen as tf.nn does.

    A tensor's dtype wins over an array's, and that of `filters` over that of `input`.

    Raises:
      ValueError: if the dtypes differ, or are none that the op has.
    """
    if _is_typed(input) and not _is_typed(filters):
        input = to_tensor("input", input)
        filters = to_tensor("filters", filters, input.dtype)
    else:
        filters = to_tensor("filters", filters)
        input = to_tensor("input", input, None if _is_typed(input) else filters.dtype)
    if input.dtype not in _DTYPES:
        allowed = ", ".join(dtype.name for dtype in _DTYPES)
        raise ValueError(f"input must have one of the dtypes {allowed}, got {input.dtype.name}")
    if filters.dtype != input.dtype:
        raise ValueError(
            f"filters must have the dtype of input, {input.dtype.name}, got {filters.dtype.name}"
        )
    return input, filters


def to_tensor(name: str, value: Any, dtype: tf.DType | None = None) -> tf.Tensor:
    """Converts `value`; arrays and lists become `dtype`, and anything else must have it already.

    Raises:
      ValueError: if `value` is None, not dense, or a tensor of another dtype.
    """
    if value is None:
        raise ValueError(f"{name} must be a tensor, got None")
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        raise ValueError(f"{name} must be a dense tensor, got a {type(value).__name__}")
    if isinstance(value, tf.Tensor):
        tensor = value
    else:
        tensor = tf.convert_to_tensor(value, None if _is_typed(value) else dtype, name=name)
    if dtype is not None and tensor.dtype != dtype:
        raise ValueError(
            f"{name} must have the dtype of input, {dtype.name}, got {tensor.dtype.name}"
        )
    return tensor


def shape_operand(shape: Any) -> Any:
    """Returns `output_shape` as what the op takes: a vector of int32 or int64, empty for None.

    Raises:
      ValueError: if `shape` is empty, has a dtype that holds no shape, or unknown dimensions.
      TypeError: if an element is not an integer.
    """
    if shape is None:
        return _INFER
    if isinstance(shape, tf.TensorShape):
        if not shape.is_fully_defined():
            raise ValueError(f"output_shape must be fully known, got {shape}; use tf.shape instead")
        shape = shape.as_list()
    # Vectors of ints first: most calls bring one, and as a NumPy array it reaches the op fastest.
    if type(shape) in (list, tuple) and all([type(v) is int for v in shape]):
        return _integers(shape)
    if isinstance(shape, np.ndarray) and shape.ndim == 1 and shape.dtype.kind in "iu":
        return _integers(shape)
    if _is_typed(shape):
        tensor = tf.convert_to_tensor(shape)
        if tensor.dtype not in (tf.int32, tf.int64):
            raise ValueError(f"output_shape must be int32 or int64, got {tensor.dtype.name}")
        if not tf.executing_eagerly() and (known := tf.get_static_value(tensor)) is not None:
            _check_not_negative(known.ravel().tolist())
        return tensor
    if isinstance(shape, (int, np.integer)):
        raise ValueError("output_shape must have rank 1, got rank 0")
    if not hasattr(shape, "__len__") or isinstance(shape, (str, bytes, dict, set)):
        raise ValueError(f"output_shape must be a tensor or a sequence of integers, got {shape!r}")
    if any(_is_typed(v) for v in shape):
        return _stacked(shape)
    return _integers([_element(i, v) for i, v in enumerate(shape)])


def static_length(shape: Any) -> int | None:
    """Length of what `shape_operand` returned; None where unknown, or where it says nothing."""
    if isinstance(shape, tf.Tensor):
        return (shape.shape[0] or None) if shape.shape.rank == 1 else None
    return len(shape) or None


def _integers(values: Any) -> Any:
    """A vector of int32, or of int64 where that is needed."""
    if len(values) == 0:
        raise ValueError("output_shape must have N+2 values, or be None to infer them, got none")
    if min(values) < 0:
        _check_not_negative(values)
    if max(values) <= _INT32_MAX:
        return np.array(values, np.int32)
    try:
        # A tensor, because the generated function would wrap an array of int64 to int32.
        return tf.constant(np.array(values, np.int64))
    except OverflowError:
        raise ValueError(f"output_shape must hold values below 2^63, got {values}") from None


def _check_not_negative(values: Any) -> None:
    """A rule that C++ has too; but in a graph TensorFlow reports it first, without the argument."""
    for i, value in enumerate(values):
        if value < 0:
            raise ValueError(f"output_shape[{i}] must be >= 0, got {value}")


def _stacked(shape: Any) -> tf.Tensor:
    """A vector with elements that are tensors."""
    dtypes = {tf.as_dtype(v.dtype) for v in shape if _is_typed(v)}
    if not dtypes <= {tf.int32, tf.int64}:
        raise TypeError(f"output_shape must hold int32 or int64, got {shape!r}")
    common = tf.int64 if tf.int64 in dtypes else tf.int32
    return tf.stack(
        [tf.cast(v if _is_typed(v) else _element(i, v), common) for i, v in enumerate(shape)]
    )


def _element(index: int, value: Any) -> int:
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) > 0:
        raise ValueError(f"output_shape must have rank 1, got rank {1 + np.ndim(value)}")
    return _arguments.integer(f"output_shape[{index}]", value)


def _is_typed(value: Any) -> bool:
    """True for what brings a TensorFlow dtype along: tensors, variables, Keras' variables."""
    return isinstance(value, tf.Tensor) or tf.is_tensor(value) or hasattr(value, "__tf_tensor__")
