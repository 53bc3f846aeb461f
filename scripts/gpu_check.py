"""Builds, checks and times the GPU kernels beside cuDNN, in one call.

python scripts/gpu_check.py --output gpu-log

Needs a CUDA device, PyTorch built for CUDA, NumPy, and the library: the one given, the one built
before (build/gpu or build/dev), or else CMake, a C++ compiler and NVRTC 12 or nvcc to build it. No
package registry, no TensorFlow.

Checks: every kernel against sums in float64 by definition, on random calls of all ranks, dtypes,
groups, formats and paddings; results are poisoned before and guarded beside; the same call gives
the same bits twice; compute-sanitizer runs over small calls where it is installed. Times:
suite.json, forward and both gradients, captured as CUDA graphs and interleaved with PyTorch's
(channels_last, cudnn.benchmark), by device events, beside the matrix rate and the copy bandwidth
measured in the same run; where wgmma can run, with and without it. Writes log.txt and figures.json:
device, driver, date, command.

With a library that is there, the whole ends within --budget seconds (450), part by part, each in a
process of its own that is ended when its time is over: "mma" (checks without wgmma), "wgmma"
(checks with nothing but it, on 9.0; times leave it out if one fails), "time", "sanitize". Files are
written as results come, so that a run that is cut off leaves what it had.

Exit code: 0 all checks passed, 1 one failed, 2 a wrong call or a missing package, 3 no CUDA device.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import hashlib
import itertools
import json
import math
import os
import random
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LIBRARY = "_conv_transpose_nd_gpu.so"
DTYPES = {"half": "float16", "bfloat16": "bfloat16", "float": "float32", "double": "float64"}
OPERATIONS = ("conv_transpose", "input_grad", "filter_grad")
ACTIVATIONS = ("none", "relu", "relu6", "leaky_relu", "elu", "gelu", "gelu_tanh", "sigmoid")
ACTIVATIONS += ("tanh", "silu")
# Half the distance of 1 to the next number: of what is stored, and of what is summed.
STORED = {"half": 2.0**-11, "bfloat16": 2.0**-8, "float": 2.0**-24, "double": 2.0**-53}
SUMMED = {"half": 2.0**-24, "bfloat16": 2.0**-24, "float": 2.0**-24, "double": 2.0**-53}
# Both factors of a product keep 10 bits, truncated or rounded: 2 * 2^-10 of it, and their product.
TF32 = 2.0**-9 + 2.0**-20
GUARD = 4096
# "cpu" with --emulated.
DEVICE = "cuda"
POISON = 0xFF  # NaN in every dtype
# Which kernels 9.0 gets for half and bfloat16: see docs/gpu.md.
WGMMA = "CONV_TRANSPOSE_ND_WGMMA"
# By part, of the whole budget.
SHARES = {"mma": 0.22, "wgmma": 0.16, "time": 0.9, "sanitize": 1.0}


class Call(ctypes.Structure):
    """conv_transpose_nd_gpu_call of cc/kernels/gpu/c_api.h."""

    _fields_ = (
        *[
            (name, ctypes.c_char_p)
            for name in ("operation", "dtype", "padding", "data_format", "activation")
        ],
        *[
            (name, ctypes.c_int64)
            for name in ("rank", "groups", "has_bias", "allow_tf32", "aligned", "has_output")
        ],
        *[
            (name, ctypes.c_int64 * 8)
            for name in ("input", "filter", "output", "strides", "dilations")
        ],
        ("explicit_paddings", ctypes.c_int64 * 16),
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """A call; lengths by spatial axis. o + before = i * stride + k * dilation."""

    operation: str
    dtype: str
    batch: int
    in_channels: int
    out_channels: int
    groups: int
    input: tuple[int, ...]
    filter: tuple[int, ...]
    output: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    channels_first: bool = False
    bias: bool = False
    activation: str = "none"
    tf32: bool = False
    aligned: bool = True

    @property
    def after(self) -> tuple[int, ...]:
        """What explicit padding says of the end; negative values are not part of it."""
        return tuple(max(0, end) for end in self.ends)

    @property
    def ends(self) -> list[int]:
        """By axis, what is cut off the end; below 0 it is output padding."""
        axes = zip(
            self.input,
            self.filter,
            self.output,
            self.strides,
            self.dilations,
            self.before,
            strict=True,
        )
        return [(i - 1) * s + (k - 1) * d + 1 - p - o for i, k, o, s, d, p in axes]

    def dims(self, which: str) -> list[int]:
        """The shape of input, filter or output, in the order of the format."""
        if which == "filter":
            return [*self.filter, self.out_channels // self.groups, self.in_channels]
        spatial = self.input if which == "input" else self.output
        channels = self.in_channels if which == "input" else self.out_channels
        return (
            [self.batch, channels, *spatial]
            if self.channels_first
            else [self.batch, *spatial, channels]
        )

    @property
    def operands(self) -> tuple[str, str, str]:
        """What first, second and result are."""
        return {
            "conv_transpose": ("input", "filter", "output"),
            "input_grad": ("output", "filter", "input"),
            "filter_grad": ("input", "output", "filter"),
        }[self.operation]

    def call(self) -> Call:
        """As the library takes it."""

        def ordered(values: Any, neutral: Any) -> list[Any]:
            values = list(values)
            if self.channels_first:
                return [neutral, neutral, *values]
            return [neutral, *values, neutral]

        call = Call()
        call.operation, call.dtype = self.operation.encode(), self.dtype.encode()
        call.padding, call.activation = b"EXPLICIT", self.activation.encode()
        call.data_format = b"CHANNELS_FIRST" if self.channels_first else b"CHANNELS_LAST"
        call.rank, call.groups, call.has_bias = len(self.input), self.groups, self.bias
        call.allow_tf32, call.aligned, call.has_output = self.tf32, self.aligned, 1
        pads = itertools.chain.from_iterable(
            ordered(zip(self.before, self.after, strict=True), (0, 0))
        )
        for name, values in (
            ("input", self.dims("input")),
            ("filter", self.dims("filter")),
            ("output", self.dims("output")),
            ("strides", ordered(self.strides, 1)),
            ("dilations", ordered(self.dilations, 1)),
            ("explicit_paddings", list(pads)),
        ):
            for i, value in enumerate(values):
                getattr(call, name)[i] = value
        return call

    @property
    def terms(self) -> int:
        """At most so many products make a result."""
        if self.operation == "filter_grad":
            return self.batch * math.prod(self.input)
        channels = self.in_channels if self.operation == "conv_transpose" else self.out_channels
        return math.prod(self.filter) * channels // self.groups


def random_case(source: random.Random, budget: int = 200_000, wide: bool = False) -> Case:
    """Any rank, dtype and padding; channels around the sizes of tiles. wide: for wgmma."""
    while True:
        rank = source.choice((1, 1, 2, 2, 2, 3, 3, 4, 5, 6))
        groups = source.choice((1, 1, 1, 2, 3))
        sizes = (1, 2, 3, 4, 7, 8, 16, 21, 32, 33, 64, 72, 128, 136)
        if wide:
            sizes = (8, 16, 40, 64, 72, 128, 136, 200, 264)
        in_channels, out_channels = (groups * source.choice(sizes) for _ in range(2))
        if not wide and source.random() < 0.1:  # depthwise
            groups = in_channels = out_channels = source.choice((1, 5, 32, 40))
        lengths = {1: 40, 2: 12, 3: 6}.get(rank, 3)
        axes = [random_axis(source, lengths) for _ in range(rank)]
        operation = source.choice(OPERATIONS)
        case = Case(
            operation,
            source.choice(("half", "bfloat16") if wide else tuple(DTYPES)),
            source.choice((1, 1, 2, 5)),
            in_channels,
            out_channels,
            groups,
            *map(tuple, zip(*axes, strict=True)),
            channels_first=not wide and source.random() < 0.3,
            tf32=source.random() < 0.5,
            aligned=wide or source.random() < 0.8,
        )
        if operation == "conv_transpose":
            case = dataclasses.replace(
                case, bias=source.random() < 0.5, activation=source.choice(ACTIVATIONS)
            )
        elements = (math.prod(case.dims(name)) for name in ("input", "filter", "output"))
        # Of more taps, the oracle takes seconds each.
        if max(elements) <= budget and math.prod(case.filter) <= 2048:
            return case


def random_axis(source: random.Random, longest: int) -> tuple[int, ...]:
    """input, filter, output, stride, dilation, before: such that the input follows from the rest.

    The input gradient takes its length from the output's: what a convolution makes of it.
    """
    while True:
        inputs, taps = source.randint(1, longest), source.choice((1, 2, 3, 4, 5, 7))
        stride, dilation = source.choice((1, 1, 2, 2, 3, 4, 8)), source.choice((1, 1, 1, 2, 3))
        reach = (taps - 1) * dilation + 1
        before, after = (source.randint(0, max(0, reach - 1)) for _ in range(2))
        output = (inputs - 1) * stride + reach - before - after + source.randint(0, stride - 1)
        after = max(0, (inputs - 1) * stride + reach - before - output)
        if output > 0 and (output + before + after - reach) // stride + 1 == inputs:
            return inputs, taps, output, stride, dilation, before


def by_definition(case: Case, first: Any, second: Any, bias: Any = None) -> np.ndarray:
    """The operation in float64, one tap at a time; arrays in the case's layouts."""
    x, w, y = _by_role(case, first, second)
    result = {"output": y, "input": x, "filter": w}[case.operands[2]]
    for tap in itertools.product(*map(range, case.filter)):
        pairs = [_overlap(case, a, k) for a, k in enumerate(tap)]
        if any(start >= stop for start, stop in pairs):
            continue
        inside = (slice(None), *(slice(start, stop) for start, stop in pairs), slice(None))
        outs = (
            slice(None),
            *(
                slice(o := start * s + k * d - p, o + (stop - start - 1) * s + 1, s)
                for (start, stop), k, s, d, p in zip(
                    pairs, tap, case.strides, case.dilations, case.before, strict=True
                )
            ),
            slice(None),
        )
        for g in range(case.groups):
            ci, co = (
                slice(g * n // case.groups, (g + 1) * n // case.groups)
                for n in (case.in_channels, case.out_channels)
            )
            xs, ys, ws = (*inside[:-1], ci), (*outs[:-1], co), (*tap, slice(None), ci)
            if case.operation == "conv_transpose":
                y[ys] += np.tensordot(x[xs], w[ws], ([-1], [1]))
            elif case.operation == "input_grad":
                x[xs] += np.tensordot(y[ys], w[ws], ([-1], [0]))
            else:
                axes = list(range(len(case.input) + 1))
                w[ws] += np.tensordot(y[ys], x[xs], (axes, axes))
    if bias is not None:
        result += bias
    if case.channels_first and case.operation != "filter_grad":
        result = np.moveaxis(result, -1, 1)
    return result


def _by_role(case: Case, first: Any, second: Any) -> tuple[Any, Any, Any]:
    """Input, filter, output, channels last; zeros for the result."""
    given = dict(zip(case.operands, (first, second), strict=False))
    arrays = []
    for name in ("input", "filter", "output"):
        value = given.get(name)
        if value is None:
            value = np.zeros(dataclasses.replace(case, channels_first=False).dims(name))
        elif case.channels_first and name != "filter":
            value = np.moveaxis(value, 1, -1)
        arrays.append(value)
    return arrays[0], arrays[1], arrays[2]


def _overlap(case: Case, axis: int, k: int) -> tuple[int, int]:
    """The input positions that tap k carries into the output."""
    s, offset = case.strides[axis], k * case.dilations[axis] - case.before[axis]
    start = max(0, -(offset // s))
    stop = min(case.input[axis], (case.output[axis] - 1 - offset) // s + 1)
    return start, stop


def activate(name: str, z: np.ndarray) -> np.ndarray:
    """The activations of the op."""
    erf = np.vectorize(math.erf, otypes=[float])
    with np.errstate(over="ignore"):
        return {
            "none": lambda: z,
            "relu": lambda: np.maximum(z, 0),
            "relu6": lambda: np.clip(z, 0, 6),
            "leaky_relu": lambda: np.where(z < 0, 0.2 * z, z),
            "elu": lambda: np.where(z < 0, np.expm1(np.minimum(z, 0)), z),
            "gelu": lambda: 0.5 * z * (1 + erf(z / math.sqrt(2))),
            "gelu_tanh": lambda: (
                0.5 * z * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z**3)))
            ),
            "sigmoid": lambda: 1 / (1 + np.exp(-z)),
            "tanh": lambda: np.tanh(z),
            "silu": lambda: z / (1 + np.exp(-z)),
        }[name]()


def tolerance(case: Case, result: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Bound on the error; `sizes`: the sums of |first| |second| (+ |bias|).

    Every one of `terms` additions rounds a partial sum, which is at most `sizes`. No activation
    has a slope above 1.13; its own functions are allowed 8 roundings.
    """
    summed = (case.terms + 8) * SUMMED[case.dtype] * sizes
    if case.dtype == "float" and case.tf32:
        summed = summed + TF32 * sizes
    own = 8 * SUMMED[case.dtype] * (1 + np.abs(result)) if case.activation != "none" else 0
    tiny = {"half": 2.0**-24}.get(case.dtype, 0.0)
    return 1.13 * summed + own + STORED[case.dtype] * np.abs(result) * 1.01 + tiny


class Library:
    """The C interface."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.functions = ctypes.CDLL(str(path))
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        for name, result, arguments in (
            ("create", ctypes.c_int, [ctypes.POINTER(Call), pointer, ctypes.POINTER(pointer)]),
            ("destroy", None, [pointer]),
            ("workspace_bytes", size, [pointer]),
            ("reason", ctypes.c_char_p, [pointer]),
            ("kernel", ctypes.c_char_p, [pointer, ctypes.c_int]),
            ("prepare", ctypes.c_int, [pointer] * 3),
            ("run", ctypes.c_int, [pointer] * 7),
            ("error", ctypes.c_char_p, []),
        ):
            function = getattr(self.functions, f"conv_transpose_nd_gpu_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def check(self, code: int) -> None:
        """Raises what the library has to say."""
        if code:
            raise RuntimeError(self.error().decode())

    def kernels(self) -> set[str]:
        """The names of all kernels that are embedded, for any device."""
        names = re.findall(rb"\0(ct_[a-z0-9_]*[a-z0-9])(?=\0)", self.path.read_bytes())
        return {name.decode() for name in names}


def current_stream() -> int:
    """The handle of PyTorch's stream."""
    import torch

    return 0 if DEVICE == "cpu" else int(torch.cuda.current_stream().cuda_stream)


class Program:
    """A call on the current device, with its workspace. wgmma: 0, 1, always, or as it is."""

    def __init__(self, library: Library, case: Case, wgmma: str = "") -> None:
        import torch

        self.library, self.handle = library, ctypes.c_void_p()
        call, stream = case.call(), current_stream()
        before = os.environ.get(WGMMA, "1")
        os.environ[WGMMA] = wgmma or before
        library.check(library.create(ctypes.byref(call), stream, ctypes.byref(self.handle)))
        os.environ[WGMMA] = before
        self.reason = library.reason(self.handle).decode()
        names = (library.kernel(self.handle, i) for i in itertools.count())
        self.kernels = [name.decode() for name in itertools.takewhile(bool, names)]
        self.workspace_bytes = library.workspace_bytes(self.handle)
        self.workspace = torch.full(
            (self.workspace_bytes + 256,), POISON, dtype=torch.uint8, device=DEVICE
        )
        # On a GPU allocations begin on 512 bytes anyway.
        self.workspace = self.workspace[-self.workspace.data_ptr() % 256 :]
        library.check(library.prepare(self.handle, self.workspace.data_ptr(), stream))

    def run(self, first: Any, second: Any, bias: Any, result: Any) -> None:
        """Tensors of PyTorch; enqueued on its current stream."""
        self.library.check(
            self.library.run(
                self.handle,
                first.data_ptr(),
                second.data_ptr(),
                bias.data_ptr() if bias is not None else None,
                result.data_ptr(),
                self.workspace.data_ptr(),
                current_stream(),
            )
        )

    def __enter__(self) -> Program:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Frees it."""
        self.library.destroy(self.handle)


def check_case(library: Library, case: Case, seed: int) -> tuple[list[str], float]:
    """Runs one case twice; the kernels, and the largest error as a part of its bound."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, DTYPES[case.dtype])

    def tensor(dims: list[int]) -> Any:
        count = math.prod(dims)
        shift = 0 if case.aligned else 1
        flat = torch.empty(count + shift, dtype=dtype, device=DEVICE)
        flat[shift:] = torch.randn(count, generator=generator).to(dtype)
        return flat[shift:].view(dims)

    first, second = (tensor(case.dims(name)) for name in case.operands[:2])
    bias = tensor([case.out_channels]) if case.bias else None
    dims = case.dims(case.operands[2])
    item, count = first.element_size(), math.prod(dims)
    shift = 0 if case.aligned else item
    results = []
    with Program(library, case) as program:
        for _ in range(2):
            room = GUARD * 2 + count * item + shift
            memory = torch.full((room,), POISON, dtype=torch.uint8, device=DEVICE)
            result = memory[GUARD + shift :][: count * item].view(dtype).view(dims)
            program.run(first, second, bias, result)
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            rest = torch.cat([memory[: GUARD + shift], memory[GUARD + shift + count * item :]])
            if not bool((rest == POISON).all()):
                raise AssertionError("memory beside the result was written to")
            results.append(result.clone())
        kernels = program.kernels
    if not torch.equal(results[0].view(torch.uint8), results[1].view(torch.uint8)):
        raise AssertionError("two runs differ")
    a, b, c = (None if t is None else t.double().cpu().numpy() for t in (first, second, bias))
    expected = activate(case.activation, by_definition(case, a, b, c))
    sizes = by_definition(case, np.abs(a), np.abs(b), None if c is None else np.abs(c))
    got = results[0].double().cpu().numpy()
    if not np.isfinite(got).all():
        raise AssertionError(f"{np.sum(~np.isfinite(got))} results are not finite")
    bound = tolerance(case, expected, sizes)
    part = np.max(np.abs(got - expected) / np.where(bound > 0, bound, 1), initial=0.0)
    if part > 1:
        raise AssertionError(f"error {part:.3g} times its bound")
    return kernels, float(part)


def check_large(library: Library) -> tuple[list[str], list[str]]:
    """Tensors of more than 2^31 elements, whose results are known: kernels run, and failures."""
    import torch

    n, kernels, failures = 2**30 + 8, [], []
    if torch.cuda.mem_get_info()[0] < 16 << 30:
        return [], ["less than 16 GiB are free: tensors of 2^31 elements were not tried"]
    base = Case("", "half", 1, 1, 1, 1, (n,), (2,), (2 * n,), (2,), (1,), (0,))
    for operation, wanted in (("conv_transpose", 1.0), ("input_grad", 2.0), ("filter_grad", None)):
        case = dataclasses.replace(base, operation=operation)
        first, second, result = (
            torch.full(case.dims(name), 1.0, dtype=torch.float16, device=DEVICE)
            for name in case.operands
        )
        result.fill_(math.nan)
        if wanted is None:  # only what lies at the very end is not zero
            for tensor, end in ((first, [1.0]), (second, [2.0, 3.0])):
                tensor.zero_()[0, -len(end) :, 0] = torch.tensor(end, dtype=torch.float16)
        with Program(library, case) as program:
            program.run(first, second, None, result)
            kernels += program.kernels
            right = (
                bool((result == wanted).all())
                if wanted is not None
                else result.flatten().tolist() == [2.0, 3.0]
            )
        if not right:
            failures.append(f"{operation} of more than 2^31 elements is wrong: {program.kernels}")
        del first, second, result
    return kernels, failures


def suite_cases(pattern: str) -> Iterator[tuple[Any, Case]]:
    """The workloads of suite.json, by dtype and operation: those that matter most come first."""
    from benchmarks.workload import load_suite

    workloads = list(load_suite(pattern))
    kinds = (("bfloat16", 0), ("float", 1), ("float", 0), ("half", 0), ("double", 0))
    for dtype, tf32 in kinds:
        for operation in OPERATIONS:
            for workload in workloads:
                yield (
                    workload,
                    Case(
                        operation,
                        dtype,
                        workload.batch,
                        workload.in_channels,
                        workload.out_channels,
                        workload.groups,
                        tuple(workload.in_spatial),
                        tuple(workload.filter_spatial),
                        tuple(workload.out_spatial),
                        tuple(workload.strides),
                        tuple(workload.dilations),
                        tuple(pad[0] for pad in workload.pads),
                        tf32=bool(tf32),
                    ),
                )


def torch_call(case: Case, first: Any, second: Any) -> Callable[[], Any]:
    """The same by PyTorch: first and second channels last, the filter as it keeps it."""
    import torch

    rank = len(case.input)
    crop = [max(0, end - p) for end, p in zip(case.ends, case.before, strict=True)]
    extra = [max(0, p - end) for end, p in zip(case.ends, case.before, strict=True)]
    memory = {2: torch.channels_last, 3: torch.channels_last_3d}.get(rank)

    def moved(value: Any) -> Any:
        value = value.movedim(-1, 1)
        return value.contiguous(memory_format=memory) if memory else value.contiguous()

    def filters(value: Any) -> Any:
        value = value.permute(rank + 1, rank, *range(rank))
        return value.contiguous(memory_format=memory) if memory else value.contiguous()

    options = case.strides, case.before, extra, case.groups, case.dilations
    if case.operation == "conv_transpose":
        x, w = moved(first), filters(second)
        function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        window = (slice(None), slice(None), *(slice(0, n) for n in case.output))
        return lambda: function(x, w, None, *options)[window]
    if case.operation == "input_grad":
        dy, w = moved(first), filters(second)
        x = moved(torch.zeros([case.batch, *case.input, case.in_channels]).to(dy))
    else:
        x, dy = moved(first), moved(second)
        w = filters(torch.zeros(case.dims("filter")).to(dy))
    zeros = [value for end in reversed(crop) for value in (0, end)]
    dy = torch.nn.functional.pad(dy, zeros) if any(zeros) else dy
    mask = [case.operation == "input_grad", case.operation == "filter_grad", False]
    stride, pad, output_padding, groups, dilation = options
    backward = torch.ops.aten.convolution_backward

    def gradient() -> Any:
        grads = backward(dy, x, w, None, stride, pad, dilation, True, output_padding, groups, mask)
        return grads[0 if mask[0] else 1]

    return gradient


def as_ours(case: Case, value: Any) -> Any:
    """A result of torch_call in the library's layout."""
    if case.operation != "filter_grad":
        return value.movedim(1, -1)
    return value.permute(*range(2, value.dim()), 1, 0)


def graph_of(call: Callable[[], Any], repeats: int) -> Callable[[], None]:
    """The call so often, captured: what is timed is the device, not Python."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    return graph.replay


def interleaved(calls: list[Callable[[], Any]], seconds: float) -> list[list[float]]:
    """Seconds per call, by device events, each in turn until `seconds` have passed."""
    import torch

    def once(replay: Callable[[], Any]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    repeats, replays = [], []
    for call in calls:
        call()
        torch.cuda.synchronize()
        single = min(once(call) for _ in range(3))
        repeats.append(max(1, min(200, int(2e-3 / max(single, 1e-6)))))
        replays.append(graph_of(call, repeats[-1]))
    times: list[list[float]] = [[] for _ in calls]
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(times[0]) < 5:
        for i, replay in enumerate(replays):
            times[i].append(once(replay) / repeats[i])
    return times


def machine(seconds: float) -> dict[str, float]:
    """Matrix rates in FLOP/s by dtype, and the copy bandwidth in bytes/s (read plus write)."""
    import torch

    found = {}
    for name, tf32 in (
        ("bfloat16", 0),
        ("float16", 0),
        ("float32", 0),
        ("float32", 1),
        ("float64", 0),
    ):
        n = 8192 if name in ("bfloat16", "float16") else 4096
        a, b = (torch.randn(n, n, device=DEVICE).to(getattr(torch, name)) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = bool(tf32)
        (times,) = interleaved([lambda a=a, b=b: torch.matmul(a, b)], seconds)
        found["tf32" if tf32 else name] = 2 * n**3 / min(times)
    x = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    y = torch.empty_like(x)
    (times,) = interleaved([lambda: y.copy_(x)], seconds)
    found["copy_bytes"] = 2 * x.numel() / min(times)
    return found


def time_case(
    library: Library, workload: Any, case: Case, limits: dict[str, float], seconds: float
) -> dict[str, Any]:
    """One row of the table: ours beside PyTorch's, after a comparison of the results."""
    import torch

    dtype = getattr(torch, DTYPES[case.dtype])
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = case.tf32
    names = case.operands
    first, second = (torch.randn(case.dims(name), device=DEVICE).to(dtype) for name in names[:2])
    result = torch.full(case.dims(names[2]), math.nan, dtype=dtype, device=DEVICE)
    row = {
        "workload": workload.name,
        "operation": case.operation,
        "dtype": "tf32" if case.tf32 else DTYPES[case.dtype],
    }
    with contextlib.ExitStack() as stack:
        programs = variants(library, case, stack)
        program = programs[""]
        row |= {"reason": program.reason, "kernels": program.kernels}

        def ours(which: Program) -> Callable[[], None]:
            return lambda: which.run(first, second, None, result)

        calls: dict[str, Callable[[], Any]] = {"": ours(program)}
        calls[""]()
        try:
            theirs = torch_call(case, first, second)
            expected = theirs()
            row["difference"] = difference(case, result, expected)
            calls["peer"] = theirs
        except (AttributeError, RuntimeError) as error:
            row["peer_error"] = str(error).splitlines()[0]
        for name, other in programs.items():
            if name:
                result.fill_(math.nan)
                calls[name] = ours(other)
                calls[name]()
                if "peer" in calls:
                    difference(case, result, expected)
                row[f"{name}_reason"] = other.reason
        times = dict(zip(calls, interleaved(list(calls.values()), seconds), strict=True))
    for name, values in times.items():
        prefix = f"{name}_" if name else ""
        row[f"{prefix}seconds"] = min(values)
        row[f"{prefix}median"] = statistics.median(values)
    if "peer" in times:
        row["ratio"] = row["peer_seconds"] / row["seconds"]
    moved = workload.bytes_min * first.element_size() / 4
    at_best = max(workload.flops / limits[row["dtype"]], moved / limits["copy_bytes"])
    row["bound"] = "math" if workload.flops / limits[row["dtype"]] == at_best else "memory"
    row["share"] = at_best / row["seconds"]
    return row


def variants(library: Library, case: Case, stack: contextlib.ExitStack) -> dict[str, Program]:
    """The program that a call gets, and those that it would get without wgmma, and with it."""
    programs = {"": stack.enter_context(Program(library, case))}
    if os.environ.get(WGMMA) == "0":
        return programs
    for name, wgmma in (("mma", "0"), ("wgmma", "always")):
        other = stack.enter_context(Program(library, case, wgmma))
        if other.kernels != programs[""].kernels:
            programs[name] = other
    return programs


def difference(case: Case, result: Any, theirs: Any) -> float:
    """The largest difference of two results, over the size of a typical sum."""
    import torch

    ours, other = result.double(), as_ours(case, theirs).double()
    if not bool(torch.isfinite(ours).all()):
        raise AssertionError("results that were not written, or not finite")
    scale = math.sqrt(case.terms)
    part = float((ours - other).abs().max()) / scale
    rounded = 2.0**-9 if case.dtype == "float" and case.tf32 else STORED[case.dtype]
    # Partial sums grow as their number's root and are rounded each, in both: of n, the errors of a
    # random walk are 0.4 n roundings large, the largest of all results some times that.
    bound = 24 * rounded + 5 * SUMMED[case.dtype] * scale
    if part > bound:
        raise AssertionError(f"differs from PyTorch by {part:.3g} of a sum, bound {bound:.3g}")
    return part


def sanitize(command: str, arguments: list[str], until: float) -> dict[str, int]:
    """Exit codes of compute-sanitizer's tools on small calls; empty where it is not installed."""
    found = shutil.which(command)
    if not found:
        return {}
    script = [sys.executable, __file__, *arguments, "--only", "check", "--random", "24", "--small"]
    codes = {}
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        # PyTorch's caching allocator would hide what lies beside a tensor.
        try:
            done = subprocess.run(
                [found, "--tool", tool, "--error-exitcode", "9", *script],
                env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=max(1.0, until - time.monotonic()),
            )
        except subprocess.TimeoutExpired:
            print(f"compute-sanitizer {tool}: no time left", flush=True)
            break
        if "Device not supported" in done.stdout + done.stderr:
            print("compute-sanitizer does not support this device", flush=True)
            break
        codes[tool] = done.returncode
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        print(f"compute-sanitizer {tool}: exit code {done.returncode}\n{tail}")
    return codes


def find_library(given: str | None, build: Path) -> Path:
    """The library that is there, or else a fresh build of it."""
    places = [Path(given)] if given else [build / LIBRARY, ROOT / "build/dev" / LIBRARY]
    for place in places:
        if place.is_file():
            return place.resolve()
    if given:
        raise SystemExit(f"gpu_check: {given} is not a file")
    switch = "-DCONV_TRANSPOSE_ND_"
    for command in (
        ["cmake", "-S", ROOT, "-B", build, f"-DPython_EXECUTABLE={sys.executable}"]
        + [f"{switch}{name}" for name in ("BUILD_OP=OFF", "BUILD_PYTHON=OFF", "CUDA=ON")],
        ["cmake", "--build", build, "--parallel", "--target", "conv_transpose_nd_gpu"],
    ):
        print("+", shlex.join(map(str, command)), flush=True)
        subprocess.run(command, check=True)
    return (build / LIBRARY).resolve()


def need_device(emulated: bool) -> Any:
    """PyTorch, on a machine with a CUDA device; ends the program elsewhere."""
    global DEVICE
    try:
        import torch
    except ImportError:
        print("gpu_check: no CUDA device can be used: PyTorch is not installed", file=sys.stderr)
        raise SystemExit(3) from None
    if emulated:
        DEVICE = "cpu"
        return torch
    if not torch.cuda.is_available():
        reason = (
            "PyTorch is built without CUDA" if torch.version.cuda is None else "none is visible"
        )
        print(f"gpu_check: no CUDA device: {reason}", file=sys.stderr)
        raise SystemExit(3)
    return torch


def about(torch: Any, library: Path) -> dict[str, Any]:
    """Where and of what the figures are."""
    done = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    driver = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(driver))
    if DEVICE == "cpu":
        found = {"device": "none: kernels emulated on the CPU"}
    else:
        properties = torch.cuda.get_device_properties(0)
        found = {
            "device": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "driver_cuda": driver.value,
        }
    return found | {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([sys.executable, *sys.argv]),
        "commit": done.stdout.strip(),
        "library": hashlib.sha256(library.read_bytes()).hexdigest(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
    }


def run_checks(
    library: Library, options: argparse.Namespace, save: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Random cases; a failed one is reported with what repeats it. save: what there is so far."""
    ran: Counter[str] = Counter()
    failures: list[str] = []
    worst, cases = 0.0, 0
    source, wide = random.Random(options.seed), options.wgmma == "always"
    until = time.monotonic() + options.budget
    for i in range(options.random):
        if time.monotonic() > until:
            print(f"the budget of {options.budget:.0f} s ended after {i} random calls")
            break
        if i % 25 == 24:
            save({"cases": cases, "failures": failures, "kernels": dict(ran), "unfinished": True})
        case = random_case(source, 5_000 if options.small else 200_000, wide)
        try:
            kernels, part = check_case(library, case, i)
        except (AssertionError, RuntimeError) as error:
            failures.append(f"{error}: {case}")
            print(f"FAILED {failures[-1]}", flush=True)
            if len(failures) >= 20 or "CUDA error" in str(error):
                break
            continue
        ran.update(kernels)
        worst, cases = max(worst, part), cases + 1
    if not options.small and not wide and DEVICE == "cuda" and not failures:
        kernels, wrong = check_large(library)
        ran.update(kernels)
        failures += wrong
    never = sorted(library.kernels() - set(ran))
    print(
        f"{cases} random calls agree, {len(failures)} fail; largest error {worst:.3f} of its bound"
    )
    print(f"kernels: {dict(sorted(ran.items()))}\nnever run: {never}")
    return {
        "cases": cases,
        "failures": failures,
        "worst": worst,
        "kernels": dict(ran),
        "never_run": never,
    }


def summarise(rows: list[dict[str, Any]]) -> str:
    """A table of ratios and shares by operation and dtype."""
    lines = ["operation dtype rows geomean worst share(math) share(memory)"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["operation"], row["dtype"]), []).append(row)
    for (operation, dtype), members in groups.items():
        ratios = [
            row["ratio"] for row in members if row.get("ratio") and row["peer_seconds"] > 20e-6
        ]
        shares = {
            bound: [row["share"] for row in members if row["bound"] == bound]
            for bound in ("math", "memory")
        }
        mean = math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.nan
        cells = [f"{statistics.median(v):.2f}" if v else "-" for v in shares.values()]
        worst = min(ratios, default=math.nan)
        lines.append(f"{operation} {dtype} {len(ratios)} {mean:.2f} {worst:.2f} {' '.join(cells)}")
    return "\n".join(lines)


def compare(rows: list[dict[str, Any]]) -> str:
    """How much longer the kernels take that were not chosen: below 1, the choice was wrong."""
    lines = ["instead operation dtype rows geomean least most"]
    for name in ("mma", "wgmma"):
        groups: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            if f"{name}_seconds" in row:
                found = groups.setdefault((row["operation"], row["dtype"]), [])
                found.append(row[f"{name}_seconds"] / row["seconds"])
        for (operation, dtype), values in groups.items():
            mean = math.exp(statistics.fmean(map(math.log, values)))
            numbers = f"{len(values)} {mean:.2f} {min(values):.2f} {max(values):.2f}"
            lines.append(f"{name} {operation} {dtype} {numbers}")
    return "\n".join(lines)


class Tee:
    """Standard output, and the log."""

    def __init__(self, *files: Any) -> None:
        self.files = files

    def write(self, text: str) -> int:
        """To both."""
        for file in self.files:
            file.write(text)
        return len(text)

    def flush(self) -> None:
        """Both."""
        for file in self.files:
            file.flush()


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--output", type=Path, default=Path("gpu-log"), help="folder of the log")
    made.add_argument("--library", help=f"a {LIBRARY} that was built before")
    made.add_argument("--build", type=Path, default=ROOT / "build/gpu")
    made.add_argument("--only", choices=("check", "sanitize", "time"), action="append")
    made.add_argument("--random", type=int, default=600, help="random calls (%(default)s)")
    made.add_argument("--small", action="store_true", help="small calls, as for the sanitizer")
    made.add_argument(
        "--emulated",
        action="store_true",
        help="checks on the CPU: with LD_LIBRARY_PATH at tests/cc/emulated_cuda of a build",
    )
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--workloads", default="", help="parts of names in suite.json, by commas")
    made.add_argument("--dtypes", default="bfloat16,tf32,float32,float16,float64")
    made.add_argument("--operations", default=",".join(OPERATIONS))
    made.add_argument("--wgmma", choices=("0", "1", "always"), help=f"sets {WGMMA}")
    made.add_argument("--seconds", type=float, default=0.1, help="per timed row (%(default)s)")
    made.add_argument("--budget", type=float, default=450, help="seconds for all (%(default)s)")
    return made


def main() -> int:
    """All of it."""
    options = parser().parse_args()
    wanted = ["check"] if options.emulated else options.only
    torch = need_device(options.emulated)
    if not wanted:
        return run_parts(options, torch.cuda.get_device_capability(0))
    if options.wgmma:
        os.environ[WGMMA] = options.wgmma
    torch.backends.cudnn.benchmark = True
    torch.zeros(1, device=DEVICE)  # makes a context current
    options.output.mkdir(parents=True, exist_ok=True)
    out = sys.stdout
    with (options.output / "log.txt").open("a", encoding="utf-8") as log:
        sys.stdout = Tee(out, log)  # type: ignore[assignment]
        try:
            return measure(options, wanted, torch)
        finally:
            sys.stdout = out


def run_parts(options: argparse.Namespace, capability: tuple[int, int]) -> int:
    """Every part in a process of its own; their figures together in figures.json."""
    library = find_library(options.library, options.build)
    begin, failed, figures = time.monotonic(), False, {}
    wgmma_fails = False
    for part, share in SHARES.items():
        left = begin + share * options.budget - time.monotonic()
        if part == "mma":
            given = ["--only", "check", "--wgmma", "0"]
        elif part == "wgmma":
            given = ["--only", "check", "--wgmma", "always", "--seed", str(options.seed + 1)]
            left = share * options.budget
            if capability != (9, 0):
                continue
        else:
            given = ["--only", part, *(["--wgmma", "0"] if wgmma_fails else [])]
        if part == "sanitize" and (left < 20 or not shutil.which("compute-sanitizer")):
            print("compute-sanitizer is not installed, or no time is left for it")
            continue
        code, figures[part] = run_part(part, options, library, given, left)
        failed |= code != 0
        wgmma_fails |= part == "wgmma" and code != 0
        options.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(figures, indent=1)
        (options.output / "figures.json").write_text(text, encoding="utf-8")
    print(f"{'FAILED' if failed else 'passed'} in {time.monotonic() - begin:.0f} s")
    return int(failed)


def run_part(
    part: str, options: argparse.Namespace, library: Path, given: list[str], seconds: float
) -> tuple[int, dict[str, Any]]:
    """Exit code and figures of one part, which is ended some seconds after its time."""
    folder = options.output / part
    command = [sys.executable, __file__, "--library", library, "--output", folder]
    command += ["--budget", seconds, "--seconds", options.seconds, "--random", options.random]
    command += ["--workloads", options.workloads, "--dtypes", options.dtypes]
    command += ["--operations", options.operations, "--seed", options.seed]
    command += ["--small"] * options.small + given
    print("+", shlex.join(map(str, command)), flush=True)
    try:
        code = subprocess.run(list(map(str, command)), check=False, timeout=seconds + 20).returncode
    except subprocess.TimeoutExpired:
        code = 124
        print(f"FAILED {part}: ended after {seconds + 20:.0f} s", flush=True)
    figures: dict[str, Any] = {"exit_code": code}
    for name in ("figures.json", "sanitized.json"):
        if (folder / name).is_file():
            figures |= json.loads((folder / name).read_text(encoding="utf-8"))
    return code, figures


def measure(options: argparse.Namespace, wanted: list[str], torch: Any) -> int:
    """The parts that are wanted; figures.json is written after each."""
    path = find_library(options.library, options.build)
    library = Library(path)
    figures: dict[str, Any] = {"about": about(torch, path)}
    print(json.dumps(figures["about"], indent=1), flush=True)
    target = options.output / ("sanitized.json" if options.small else "figures.json")

    def save() -> None:
        target.write_text(json.dumps(figures, indent=1), encoding="utf-8")

    failed = False
    if "check" in wanted:

        def save_checks(so_far: dict[str, Any]) -> None:
            figures["checks"] = so_far
            save()

        figures["checks"] = run_checks(library, options, save_checks)
        failed |= bool(figures["checks"]["failures"])
        save()
    if "sanitize" in wanted:
        arguments = ["--library", str(path), "--output", str(options.output)]
        figures["sanitizer"] = sanitize(
            "compute-sanitizer", arguments, time.monotonic() + options.budget
        )
        failed |= any(figures["sanitizer"].values())
        save()
    if "time" in wanted:
        figures["limits"] = machine(options.seconds)
        print(json.dumps(figures["limits"]), flush=True)
        figures["rows"] = []
        until = time.monotonic() + options.budget
        for workload, case in suite_cases(options.workloads):
            dtype = "tf32" if case.tf32 else DTYPES[case.dtype]
            if dtype not in options.dtypes.split(",") or case.operation not in options.operations:
                continue
            if time.monotonic() > until:
                print(f"the budget of {options.budget} s ended before {workload.name}")
                break
            try:
                row = time_case(library, workload, case, figures["limits"], options.seconds)
            except (AssertionError, RuntimeError) as error:
                failed = True
                row = {"workload": workload.name, "operation": case.operation, "dtype": dtype}
                row["failed"] = str(error).splitlines()[0]
                print("FAILED", json.dumps(row), flush=True)
                figures.setdefault("failed", []).append(row)
                continue
            print(json.dumps(row), flush=True)
            figures["rows"].append(row)
            save()
        print(summarise(figures["rows"]))
        print(compare(figures["rows"]))
        save()
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
