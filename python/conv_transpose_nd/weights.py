"""Filters of transposed convolutions to and from the layouts of PyTorch and ONNX.

Needs neither TensorFlow nor PyTorch nor ONNX: arrays come in and go out. All three index taps
alike (o = i * stride + k * dilation - pad), so that only axes are moved. Groups need no more: each
framework has the output channels of one group, and the input channels of all, group after group.
A bias, `[out_channels]`, is the same everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["from_onnx", "from_torch", "to_onnx", "to_torch"]


def from_torch(weight: Any, groups: int = 1) -> np.ndarray[Any, Any]:
    """Returns the filter for this package, of a weight for PyTorch's `ConvTransposeNd`.

        filter[k..., co, ci] = weight[ci, co, k...]

    Args:
      weight: `[in_channels, out_channels / groups, spatial...]`: a torch tensor, on any device, or
        an array.
      groups: >= 1, only checked against the shape: the result is the same.

    Returns:
      An array `[spatial..., out_channels / groups, in_channels]` in the dtype of `weight`.

    Raises:
      ValueError: unless `weight` has rank >= 3 and `in_channels % groups == 0`.

    Example:
      >>> ct.weights.from_torch(np.ones([8, 16, 3, 5])).shape
      (3, 5, 16, 8)

    Reference:
      `torch.nn.ConvTranspose2d`, Variables: weight.
    """
    return _from_channels_first("weight", weight, groups)


def to_torch(filters: Any, groups: int = 1) -> np.ndarray[Any, Any]:
    """Returns the weight for PyTorch's `ConvTransposeNd`, of a filter for this package.

        weight[ci, co, k...] = filters[k..., co, ci]

    Args:
      filters: `[spatial..., out_channels / groups, in_channels]`, a tensor, variable or array.
      groups: >= 1, only checked against the shape: the result is the same.

    Returns:
      A contiguous array `[in_channels, out_channels / groups, spatial...]` in the dtype of
      `filters`, for torch.from_numpy.

    Raises:
      ValueError: unless `filters` has rank >= 3 and `in_channels % groups == 0`.

    Example:
      >>> ct.weights.to_torch(np.ones([3, 5, 16, 8])).shape
      (8, 16, 3, 5)

    Reference:
      `torch.nn.ConvTranspose2d`, Variables: weight.
    """
    return _to_channels_first("filters", filters, groups)


def from_onnx(weight: Any, group: int = 1) -> np.ndarray[Any, Any]:
    """Returns the filter for this package, of input W of ONNX' `ConvTranspose`.

        filter[k..., co, ci] = W[ci, co, k...]

    Args:
      weight: W, `[in_channels, out_channels / group, spatial...]`, an array as
        `onnx.numpy_helper.to_array` gives it.
      group: >= 1, the attribute; only checked against the shape: the result is the same.

    Returns:
      An array `[spatial..., out_channels / group, in_channels]` in the dtype of `weight`.

    Raises:
      ValueError: unless `weight` has rank >= 3 and `in_channels % group == 0`.

    Example:
      >>> ct.weights.from_onnx(np.ones([8, 16, 3, 5])).shape
      (3, 5, 16, 8)

    Reference:
      ONNX operator ConvTranspose, version 11: "(C x M/group x k1 x k2 x ... x kn)".
    """
    return _from_channels_first("weight", weight, group)


def to_onnx(filters: Any, group: int = 1) -> np.ndarray[Any, Any]:
    """Returns input W of ONNX' `ConvTranspose`, of a filter for this package.

        W[ci, co, k...] = filters[k..., co, ci]

    Args:
      filters: `[spatial..., out_channels / group, in_channels]`, a tensor, variable or array.
      group: >= 1, the attribute; only checked against the shape: the result is the same.

    Returns:
      A contiguous array `[in_channels, out_channels / group, spatial...]` in the dtype of
      `filters`, for `onnx.numpy_helper.from_array`.

    Raises:
      ValueError: unless `filters` has rank >= 3 and `in_channels % group == 0`.

    Example:
      >>> ct.weights.to_onnx(np.ones([3, 5, 16, 8])).shape
      (8, 16, 3, 5)

    Reference:
      ONNX operator ConvTranspose, version 11: "(C x M/group x k1 x k2 x ... x kn)".
    """
    return _to_channels_first("filters", filters, group)


def _from_channels_first(name: str, weight: Any, groups: int) -> np.ndarray[Any, Any]:
    array = _array(weight)
    _check(name, array, 0, groups)
    return np.ascontiguousarray(np.moveaxis(array, (1, 0), (-2, -1)))


def _to_channels_first(name: str, filters: Any, groups: int) -> np.ndarray[Any, Any]:
    array = _array(filters)
    _check(name, array, -1, groups)
    return np.ascontiguousarray(np.moveaxis(array, (-1, -2), (0, 1)))


def _check(name: str, array: np.ndarray[Any, Any], in_axis: int, groups: int) -> None:
    if array.ndim < 3:
        raise ValueError(f"{name} must have rank >= 3, got shape {array.shape}")
    if groups < 1 or array.shape[in_axis] % groups:
        raise ValueError(
            f"groups must be >= 1 and divide the input channels of {name}, "
            f"{array.shape[in_axis]}, got {groups}"
        )


def _array(value: Any) -> np.ndarray[Any, Any]:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu()
    if str(tensor.dtype) != "torch.bfloat16":
        return np.asarray(tensor.numpy())
    # PyTorch cannot hand this type to NumPy, which has none itself. float32 holds its values.
    import ml_dtypes

    return np.asarray(tensor.float().numpy()).astype(ml_dtypes.bfloat16)
