"""OpenVINO: (Group)ConvolutionBackpropData with the filter as Constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import UnsupportedError
from benchmarks.workload import Case


def make(case: Case, constant: bool) -> Callable[[], Any]:
    """An inference request of a model with one node. Precision as asked: its default may round."""
    if case.operation != "forward":
        raise UnsupportedError("OpenVINO has no gradients")
    precisions = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    if case.dtype not in precisions:
        raise UnsupportedError("OpenVINO's CPU plugin computes float64 in float32")
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": case.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precisions[case.dtype],
        "ENABLE_CPU_PINNING": False,
    }
    w = _filter(case)  # the model reads it in place
    compiled = openvino.Core().compile_model(_model(case, w), "CPU", settings)
    request = compiled.create_infer_request()
    x = np.ascontiguousarray(np.moveaxis(case.operand("input"), -1, 1))
    request.set_input_tensor(_tensor(x, case))
    output = request.get_output_tensor()

    def call(keep: Any = (x, w, compiled)) -> Any:
        request.infer()
        return output

    return call


def _tensor(array: np.ndarray, case: Case) -> Any:
    import openvino

    if case.dtype != "bfloat16":
        return openvino.Tensor(array, shared_memory=True)
    return openvino.Tensor(array.view(np.uint16), array.shape, openvino.Type.bf16)


def _filter(case: Case) -> np.ndarray:
    """[in, out, k...], with groups [groups, in / groups, out / groups, k...]."""
    w, rank, groups = case.operand("filter"), case.workload.rank, case.workload.groups
    w = np.ascontiguousarray(w.transpose(rank + 1, rank, *range(rank)))
    return w if groups == 1 else w.reshape(groups, -1, *w.shape[1:])


def _model(case: Case, w: np.ndarray) -> Any:
    import openvino
    from openvino import opset13

    workload, groups = case.workload, case.workload.groups
    element = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[case.dtype]
    shape = [workload.batch, workload.in_channels, *workload.in_spatial]
    x = opset13.parameter(shape, getattr(openvino.Type, element))
    more = workload.end_pads()
    create = (
        opset13.group_convolution_backprop_data if groups > 1 else opset13.convolution_backprop_data
    )
    node = create(
        x,
        openvino.op.Constant(_tensor(w, case)),
        strides=workload.strides,
        pads_begin=[pad[0] for pad in workload.pads],
        pads_end=[max(0, pad) for pad in more],
        dilations=workload.dilations,
        output_padding=[max(0, -pad) for pad in more],
    )
    return openvino.Model([node], [x], "conv_transpose")


def to_tensorflow(tensor: Any, case: Case) -> np.ndarray:
    """Channels last."""
    array = tensor.data
    if case.dtype == "bfloat16":
        array = array.view(case.numpy_dtype)
    return np.moveaxis(array, 1, -1)
