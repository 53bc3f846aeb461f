"""Transposed convolution of NumPy arrays, its gradients, and how they are computed.

Arrays are float16, bfloat16 (of ml_dtypes), float32, float64 or int32, all of a call alike.
Those that are contiguous are used in place. The functions named `reference_...` are the definition,
computed by plain loops with sums in double: slow, and what the others are tested against.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
# An int, or 1, N or N+2 values in the order of data_format.
_Steps: TypeAlias = int | Sequence[int]
# 'SAME', 'VALID', 'SAME_LOWER', or N or N+2 pairs (before, after).
_Padding: TypeAlias = str | Sequence[tuple[int, int]]

def conv_transpose(
    input: _Array,
    filter: _Array,
    *,
    output_shape: Sequence[int] | None = None,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    output_padding: _Steps | None = None,
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    bias: _Array | None = None,
    activation: str = "none",
    num_threads: int = 0,
) -> _Array: ...
def input_grad(
    output_grad: _Array,
    filter: _Array,
    *,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    num_threads: int = 0,
) -> _Array: ...
def filter_grad(
    input: _Array,
    filter_shape: Sequence[int],
    output_grad: _Array,
    *,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    num_threads: int = 0,
) -> _Array: ...

class PreparedCall:
    """A call whose filter never changes; prepare_conv_transpose and prepare_input_grad make it."""
    def __call__(self, array: _Array) -> _Array: ...

def prepare_conv_transpose(
    filter: _Array,
    *,
    output_shape: Sequence[int] | None = None,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    output_padding: _Steps | None = None,
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    bias: _Array | None = None,
    activation: str = "none",
    num_threads: int = 0,
) -> PreparedCall: ...
def prepare_input_grad(
    filter: _Array,
    *,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    num_threads: int = 0,
) -> PreparedCall: ...

class PreparedFilterGrad:
    """filter_grad of one layer; prepare_filter_grad makes it."""
    def __call__(self, input: _Array, output_grad: _Array) -> _Array: ...

def prepare_filter_grad(
    filter_shape: Sequence[int],
    *,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    num_threads: int = 0,
) -> PreparedFilterGrad: ...
def reference_conv_transpose(
    input: _Array,
    filter: _Array,
    *,
    output_shape: Sequence[int] | None = None,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    output_padding: _Steps | None = None,
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    bias: _Array | None = None,
    activation: str = "none",
    num_threads: int = 0,
) -> _Array: ...
def reference_input_grad(
    output_grad: _Array,
    filter: _Array,
    *,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    num_threads: int = 0,
) -> _Array: ...
def reference_filter_grad(
    input: _Array,
    filter_shape: Sequence[int],
    output_grad: _Array,
    *,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    num_threads: int = 0,
) -> _Array: ...
def geometry(
    input_shape: Sequence[int],
    filter_shape: Sequence[int],
    *,
    output_shape: Sequence[int] | None = None,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    output_padding: _Steps | None = None,
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
) -> dict[str, Any]: ...
def plan(
    input_shape: Sequence[int],
    filter_shape: Sequence[int],
    *,
    output_shape: Sequence[int] | None = None,
    strides: _Steps = 1,
    padding: _Padding = "SAME",
    output_padding: _Steps | None = None,
    dilations: _Steps = 1,
    groups: int = 1,
    data_format: str = "CHANNELS_LAST",
    operation: str = "conv_transpose",
    dtype: str = "float32",
) -> dict[str, Any]: ...
def machine(num_threads: int = 1) -> dict[str, Any]: ...
def release_memory() -> int: ...
def targets() -> list[str]: ...
def target() -> str: ...
def set_target(name: str) -> None: ...
def force_family(family: str | None) -> None: ...
