"""PyTorch: conv_transpose{1,2,3}d, channels_last where PyTorch has it (rank 2 and 3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """The functional call. Where the end is padded more than the start, the result is cropped."""
    import torch

    torch.set_num_threads(case.threads)
    workload = case.workload
    channels_first = "BENCHMARK_CHANNELS_FIRST" in os.environ
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    if workload.rank not in formats and not channels_first:
        raise UnsupportedError("PyTorch has no channels_last format in 1-D")

    def tensor(name: str) -> Any:
        array = case.operand(name)
        wide = array.astype(np.float64 if case.dtype == "float64" else np.float32)
        value = torch.from_numpy(np.ascontiguousarray(_torch_layout(wide, name)))
        value = value.to(getattr(torch, case.dtype))
        if channels_first or name == "filter":
            return value
        return value.contiguous(memory_format=formats[workload.rank])

    before = [pad[0] for pad in workload.pads]
    more = [after - pad for after, pad in zip(workload.end_pads(), before, strict=True)]
    crop = [max(0, value) for value in more]
    output_padding = [max(0, -value) for value in more]
    options = workload.strides, before, output_padding, workload.groups, workload.dilations
    if case.operation == "forward":
        function = getattr(torch.nn.functional, f"conv_transpose{workload.rank}d")
        x, w = tensor("input"), tensor("filter")
        window = (slice(None), slice(None), *(slice(0, n) for n in workload.out_spatial))

        def forward() -> Any:
            with torch.inference_mode():
                return function(x, w, None, *options)[window]

        return forward
    return _gradient(case, tensor, crop, options)


def _gradient(
    case: Case, tensor: Callable[[str], Any], crop: list[int], options: tuple[Any, ...]
) -> Callable[[], Any]:
    import torch

    workload, is_input = case.workload, case.operation == "input_grad"
    stride, pad, output_padding, groups, dilation = options
    dy = tensor("output_grad")
    x, w = _placeholder(workload.input_shape, dy, "input"), None
    if is_input:
        w = tensor("filter")
    else:
        x = tensor("input")
        w = _placeholder(workload.filter_shape, dy, "filter")
    # As autograd does for a crop: the gradient of what was cut off is 0. Last axis first.
    zeros = [value for end in reversed(crop) for value in (0, end)]

    def gradient() -> Any:
        full = torch.nn.functional.pad(dy, zeros) if any(zeros) else dy
        grads = torch.ops.aten.convolution_backward(
            full,
            x,
            w,
            None,
            stride,
            pad,
            dilation,
            True,
            output_padding,
            groups,
            [is_input, not is_input, False],
        )
        return grads[0 if is_input else 1]

    return gradient


def _placeholder(shape: list[int], like: Any, name: str) -> Any:
    """An operand of which only the shape, and the memory format, count."""
    import torch

    dims = _torch_layout(np.broadcast_to(np.float32(0), shape), name).shape
    value = torch.zeros(dims, dtype=like.dtype)
    for layout in (torch.channels_last, torch.channels_last_3d):
        rank = 4 if layout is torch.channels_last else 5
        if name == "input" and like.dim() == rank and like.is_contiguous(memory_format=layout):
            return value.contiguous(memory_format=layout)
    return value


def _torch_layout(array: np.ndarray, name: str) -> np.ndarray:
    """Channels first; filter [in_channels, out_channels / groups, k...]."""
    if name != "filter":
        return np.moveaxis(array, -1, 1)
    rank = array.ndim - 2
    return array.transpose(rank + 1, rank, *range(rank))


def to_tensorflow(tensor: Any, case: Case) -> np.ndarray:
    """The result in TensorFlow's layout, for the comparison."""
    array = (tensor.double() if case.dtype == "float64" else tensor.float()).numpy()
    if case.operation != "filter_grad":
        return np.moveaxis(array, 1, -1)
    return np.transpose(array, (*range(2, array.ndim), 1, 0))
