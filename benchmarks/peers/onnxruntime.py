"""ONNX Runtime: ConvTranspose with the filter as initializer, so that it is prepacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """A session of a model with one node."""
    if case.operation != "forward":
        raise UnsupportedError("ONNX has no gradients")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        _model(case).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.ascontiguousarray(np.moveaxis(case.operand("input"), -1, 1))
    return lambda: session.run(None, {"x": x})[0]


def _model(case: Case) -> Any:
    import onnx
    from onnx import helper, numpy_helper

    workload = case.workload
    types = {"float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "float64": "DOUBLE"}
    element = getattr(onnx.TensorProto, types[case.dtype])
    w = case.operand("filter")
    rank = workload.rank
    w = np.ascontiguousarray(w.transpose(rank + 1, rank, *range(rank)))
    more = workload.end_pads()
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w"],
        ["y"],
        strides=workload.strides,
        dilations=workload.dilations,
        pads=[pad[0] for pad in workload.pads] + [max(0, pad) for pad in more],
        output_padding=[max(0, -pad) for pad in more],
        group=workload.groups,
    )
    shapes = (
        [workload.batch, channels, *spatial]
        for channels, spatial in (
            (workload.in_channels, workload.in_spatial),
            (workload.out_channels, workload.out_spatial),
        )
    )
    x, y = (helper.make_tensor_value_info(n, element, s) for n, s in zip("xy", shapes, strict=True))
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(w, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def to_tensorflow(array: np.ndarray, case: Case) -> np.ndarray:
    """Channels last."""
    return np.moveaxis(array, 1, -1)
