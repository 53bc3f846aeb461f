"""PyTorch: conv_transpose{1,2,3}d, channels_last where PyTorch has it (rank 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Workload


def make(workload: Workload, operation: str, threads: int) -> Callable[[], Any]:
    """The functional call; its pads are equal on both ends, the rest is output_padding."""
    import torch

    torch.set_num_threads(threads)
    x, w, dy = (torch.from_numpy(array) for array in _torch_layout(workload))
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    if workload.rank in formats:
        x, dy = (t.contiguous(memory_format=formats[workload.rank]) for t in (x, dy))
    before = [p[0] for p in workload.pads]
    output_padding = [
        out - ((n - 1) * s - 2 * p + d * (k - 1) + 1)
        for out, n, s, p, d, k in zip(
            workload.out_spatial,
            workload.in_spatial,
            workload.strides,
            before,
            workload.dilations,
            workload.filter_spatial,
            strict=True,
        )
    ]
    if min(output_padding) < 0:
        raise UnsupportedError("padding is larger at the end: PyTorch would need a crop")
    options = workload.strides, before, output_padding, workload.groups, workload.dilations
    function = getattr(torch.nn.functional, f"conv_transpose{workload.rank}d")

    def forward() -> Any:
        with torch.inference_mode():
            return _tensorflow_layout(function(x, w, None, *options))

    def gradient() -> Any:
        mask = [operation == "input_grad", operation == "filter_grad", False]
        stride, pad, output_pad, groups, dilation = options
        grads = torch.ops.aten.convolution_backward(
            dy, x, w, None, stride, pad, dilation, True, output_pad, groups, mask
        )
        if operation == "input_grad":
            return _tensorflow_layout(grads[0])
        return grads[1]

    return forward if operation == "forward" else gradient


def _torch_layout(workload: Workload) -> list[np.ndarray]:
    """Channels first; filter [in_channels, out_channels / groups, k...]."""
    x, w, dy = workload.operands()
    axes = range(workload.rank)
    w = w.transpose(workload.rank + 1, workload.rank, *axes)
    return [
        np.ascontiguousarray(np.moveaxis(x, -1, 1)),
        np.ascontiguousarray(w),
        np.ascontiguousarray(np.moveaxis(dy, -1, 1)),
    ]


def _tensorflow_layout(tensor: Any) -> Any:
    """A view with channels last; no copy is timed."""
    return tensor.movedim(1, -1)


def to_tensorflow(array: np.ndarray, workload: Workload, operation: str) -> np.ndarray:
    """The result in TensorFlow's layout, for the comparison."""
    if operation != "filter_grad":
        return array
    return np.transpose(array, (*range(2, workload.rank + 2), 1, 0))
