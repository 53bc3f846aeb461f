"""LiteRT (TensorFlow Lite) with its XNNPACK delegate; the model is written here, not converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """An interpreter of a model with one operator."""
    workload = case.workload
    if case.operation != "forward":
        raise UnsupportedError("LiteRT has no gradients")
    if case.dtype != "float32":
        raise UnsupportedError("LiteRT's transposed convolutions take float32 only")
    if workload.groups > 1 or max(workload.dilations) > 1:
        raise UnsupportedError("TRANSPOSE_CONV and CONV_3D_TRANSPOSE have no groups or dilations")
    from ai_edge_litert import interpreter

    runner = interpreter.Interpreter(model_content=_model(case), num_threads=case.threads)
    runner.allocate_tensors()
    x = case.operand("input")
    runner.set_tensor(runner.get_input_details()[0]["index"], _two_axes(x, workload.rank))
    index = runner.get_output_details()[0]["index"]

    def call() -> Any:
        runner.invoke()
        return runner, index

    return call


def to_tensorflow(result: Any, case: Case) -> np.ndarray:
    """The output tensor, which stays in the interpreter while it is timed."""
    runner, index = result
    return runner.get_tensor(index).reshape(case.workload.output_shape)


def _two_axes(array: np.ndarray, rank: int) -> np.ndarray:
    """1-D as 2-D of height 1: there is no 1-D operator."""
    return array[:, None] if rank == 1 else array


def _model(case: Case) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    workload = case.workload
    w = case.operand("filter")
    if workload.rank == 3:
        filter_array = w  # [k..., out, in]
    else:
        filter_array = np.moveaxis(w[None] if workload.rank == 1 else w, 2, 0)  # [out, k..., in]
    shape = workload.output_shape
    shape = [shape[0], 1, *shape[1:]] if workload.rank == 1 else shape
    input_shape = workload.input_shape
    input_shape = [input_shape[0], 1, *input_shape[1:]] if workload.rank == 1 else input_shape

    model = schema.ModelT()
    model.version = 3
    model.buffers = [_buffer(schema, None)]
    graph = schema.SubGraphT()
    graph.tensors = []

    def tensor(name: str, dims: list[int], kind: int, data: np.ndarray | None = None) -> int:
        value = schema.TensorT()
        value.name, value.shape, value.type = name, dims, kind
        if data is not None:
            model.buffers.append(_buffer(schema, data))
            value.buffer = len(model.buffers) - 1
        graph.tensors.append(value)
        return len(graph.tensors) - 1

    float32, int32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
    dims = np.asarray(shape, np.int32)
    inputs = [
        tensor("output_shape", [len(shape)], int32, dims),
        tensor("filter", list(filter_array.shape), float32, filter_array),
        tensor("input", input_shape, float32),
    ]
    output = tensor("output", shape, float32)
    graph.operators = [_operator(schema, case, inputs, output)]
    graph.inputs, graph.outputs = inputs[2:], [output]
    model.subgraphs = [graph]
    code = schema.OperatorCodeT()
    kinds = schema.BuiltinOperator
    builtin = kinds.CONV_3D_TRANSPOSE if workload.rank == 3 else kinds.TRANSPOSE_CONV
    # Codes above 126 do not fit the field of old schemas, which holds 127 then.
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    model.operatorCodes = [code]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator(schema: Any, case: Case, inputs: list[int], output: int) -> Any:
    workload = case.workload
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = inputs, [output]
    strides = [1] * (2 - workload.rank) + list(workload.strides)
    if workload.rank == 3:
        operator.builtinOptionsType = schema.BuiltinOptions.Conv3DOptions
        options = schema.Conv3DOptionsT()
        options.strideD = strides[0]
    else:
        operator.builtinOptionsType = schema.BuiltinOptions.TransposeConvOptions
        options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW = strides[-2:]
    options.padding = getattr(schema.Padding, workload.padding)
    operator.builtinOptions = options
    return operator


def _buffer(schema: Any, data: np.ndarray | None) -> Any:
    value = schema.BufferT()
    if data is not None:
        value.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
    return value
