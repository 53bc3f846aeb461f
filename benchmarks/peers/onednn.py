"""oneDNN called directly, through its C API: the filter is reordered once, as the primitive wants.

The shared library is that of the wheel in this environment: no compiler is needed.
"""

from __future__ import annotations

import ctypes
import math
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case

# The values of dnnl_types.h, which are part of oneDNN's ABI.
_TYPES = {"float16": 1, "bfloat16": 2, "float32": 3, "float64": 7}
_CPU, _IN_ORDER, _ANY, _DIRECT = 1, 1, 1, 0xA
_TRAINING, _INFERENCE = 64, 96
_QUERY = {"src": 129, "diff_src": 130, "weights": 131, "diff_weights": 132, "dst": 133}
_QUERY["diff_dst"] = 134
_ARGUMENT = {"src": 1, "dst": 17, "weights": 33, "diff_src": 129, "diff_dst": 145}
_ARGUMENT["diff_weights"] = 161
_Dims = ctypes.c_int64 * 12


class _Argument(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_int), ("memory", ctypes.c_void_p))


class _Library:
    """The C functions; a status other than 0 becomes UnsupportedError."""

    def __init__(self) -> None:
        folder = pathlib.Path(sys.prefix) / "lib"
        found = sorted(folder.glob("libdnnl.so*"))
        if not found:
            raise ModuleNotFoundError(f"no libdnnl.so in {folder}")
        self.library = ctypes.CDLL(str(found[0]))
        self.library.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        self.library.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.engine = self.handle("dnnl_engine_create", _CPU, ctypes.c_size_t(0))
        self.stream = self.handle("dnnl_stream_create", self.engine, _IN_ORDER)

    def handle(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        """Calls a function that creates an object, and returns that."""
        value = ctypes.c_void_p()
        self.check(function, getattr(self.library, function)(ctypes.byref(value), *arguments))
        return value

    def check(self, function: str, status: int) -> None:
        """Raises unless `status` says success."""
        if status != 0:
            raise UnsupportedError(f"{function} returned {status}")

    def description(self, dims: list[int], dtype: str, strides: list[int] | None) -> Any:
        """A memory descriptor; without strides the primitive chooses the layout."""
        head = len(dims), _Dims(*dims), _TYPES[dtype]
        if strides is None:
            return self.handle("dnnl_memory_desc_create_with_tag", *head, _ANY)
        return self.handle("dnnl_memory_desc_create_with_strides", *head, _Dims(*strides))

    def memory(self, description: Any, array: np.ndarray | None = None) -> tuple[Any, Any]:
        """A memory object, and what owns its bytes."""
        if array is None:
            size = self.library.dnnl_memory_desc_get_size(description)
            raw = np.zeros(size + 64, np.uint8)
            start = -raw.ctypes.data % 64
            array = raw[start : start + size]
        address = ctypes.c_void_p(array.ctypes.data)
        return self.handle("dnnl_memory_create", description, self.engine, address), array

    def run(self, primitive: Any, **memories: Any) -> Callable[[], None]:
        """A call of the primitive that waits for its end."""
        items = [_Argument(_ARGUMENT[name], memory) for name, memory in memories.items()]
        arguments = (_Argument * len(items))(*items)
        execute, wait = self.library.dnnl_primitive_execute, self.library.dnnl_stream_wait
        stream, count = self.stream, len(items)

        def call() -> None:
            if execute(primitive, stream, count, arguments) or wait(stream):
                raise UnsupportedError("dnnl_primitive_execute failed")

        return call

    def reorder(self, source: tuple[Any, Any], target: tuple[Any, Any]) -> None:
        """Copies from one (description, memory) to another."""
        primitive = self.handle(
            "dnnl_primitive_create",
            self.handle(
                "dnnl_reorder_primitive_desc_create",
                source[0],
                self.engine,
                target[0],
                self.engine,
                None,
            ),
        )
        self.run(primitive, src=source[1], dst=target[1])()

    def query(self, primitive_description: Any, name: str) -> Any:
        """The layout that the primitive chose."""
        value = self.library.dnnl_primitive_desc_query_md(primitive_description, _QUERY[name], 0)
        return ctypes.c_void_p(value)


class _Deconvolution:
    """The descriptions of one case: logical dims channels first, filter [out, in, k...]."""

    def __init__(self, library: _Library, case: Case) -> None:
        self.library, self.case, self.workload = library, case, case.workload
        w = self.workload
        self.input = library.description(*self._tensor(w.input_shape))
        self.output = library.description(*self._tensor(w.output_shape))
        self.filter_dims, self.filter_strides = self._filter()
        self.any_filter = library.description(self.filter_dims, case.dtype, None)
        self.plain_filter = library.description(self.filter_dims, case.dtype, self.filter_strides)

    def _tensor(self, shape: list[int]) -> tuple[list[int], str, list[int]]:
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        order = [0, len(shape) - 1, *range(1, len(shape) - 1)]
        return [shape[i] for i in order], self.case.dtype, [strides[i] for i in order]

    def _filter(self) -> tuple[list[int], list[int]]:
        """Dims and strides of TensorFlow's [k..., out / groups, in], groups first if there are."""
        w = self.workload
        shape = w.filter_shape
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        rank, part = w.rank, w.in_channels // w.groups
        dims = [shape[rank], part, *shape[:rank]]
        steps = [strides[rank], 1, *strides[:rank]]
        return (dims, steps) if w.groups == 1 else ([w.groups, *dims], [part, *steps])

    def primitive_description(self, operation: str) -> Any:
        """Of the forward call, or of a gradient, which takes the former as a hint."""
        w = self.workload
        geometry = [
            _Dims(*values)
            for values in (
                w.strides,
                [d - 1 for d in w.dilations],
                [pad[0] for pad in w.pads],
                w.end_pads(),
            )
        ]
        engine = self.library.engine
        kind = _INFERENCE if operation == "forward" else _TRAINING
        tensors = self.input, self.any_filter, None, self.output
        forward = self.library.handle(
            "dnnl_deconvolution_forward_primitive_desc_create",
            *(engine, kind, _DIRECT, *tensors, *geometry, None),
        )
        if operation == "forward":
            return forward
        if operation == "input_grad":
            tensors = self.input, self.any_filter, self.output
        name = {"input_grad": "data", "filter_grad": "weights"}[operation]
        return self.library.handle(
            f"dnnl_deconvolution_backward_{name}_primitive_desc_create",
            *(engine, _DIRECT, *tensors, *geometry, forward, None),
        )


_loaded: list[_Library] = []


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """Executes the primitive on resident memory."""
    if not _loaded:
        _loaded.append(_Library())
    library = _loaded[0]
    problem = _Deconvolution(library, case)
    description = problem.primitive_description(case.operation)
    primitive = library.handle("dnnl_primitive_create", description)
    keep = []

    def memory(layout: Any, array: np.ndarray | None = None) -> Any:
        value, owner = library.memory(layout, array)
        keep.append(owner)
        return value

    if case.operation == "filter_grad":
        layout = library.query(description, "diff_weights")
        result = memory(layout)
        call = library.run(
            primitive,
            src=memory(problem.input, case.operand("input")),
            diff_dst=memory(problem.output, case.operand("output_grad")),
            diff_weights=result,
        )
        plain = np.zeros(case.workload.filter_shape, case.numpy_dtype)
        target = problem.plain_filter, memory(problem.plain_filter, plain)

        def array() -> np.ndarray:
            library.reorder((layout, result), target)
            return plain

    else:
        layout = library.query(description, "weights")
        packed = memory(layout)
        plain_filter = memory(problem.plain_filter, case.operand("filter"))
        library.reorder((problem.plain_filter, plain_filter), (layout, packed))
        forward = case.operation == "forward"
        shape = case.workload.output_shape if forward else case.workload.input_shape
        output = np.zeros(shape, case.numpy_dtype)
        if forward:
            arguments = {
                "src": memory(problem.input, case.operand("input")),
                "dst": memory(problem.output, output),
            }
        else:
            arguments = {
                "diff_dst": memory(problem.output, case.operand("output_grad")),
                "diff_src": memory(problem.input, output),
            }
        call = library.run(primitive, weights=packed, **arguments)

        def array() -> np.ndarray:
            return output

    def execute() -> Any:
        call()
        return array, keep

    return execute


def to_tensorflow(result: Any, case: Case) -> np.ndarray:
    """The result in TensorFlow's layout; the filter's gradient is reordered, which is not timed."""
    return result[0]()
