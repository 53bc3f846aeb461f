"""ConvTransposeND of a SavedModel -> stock TensorFlow ops."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from conv_transpose_nd.saved_model import _expand, _files, _graph, _verify
from conv_transpose_nd.saved_model._report import OpReport, Report

_OPS = ("ConvTransposeND", "ConvTransposeNDInputGrad", "ConvTransposeNDFilterGrad")


def to_stock(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Any] | None = None,
    check: bool = True,
    tolerance: float | None = None,
    seconds: float = 1.0,
    report: Callable[[str], object] = print,
) -> Report:
    """Writes a SavedModel that computes what `src` does, with stock TensorFlow ops only.

    For servers and converters that do not know the op: TFLite, tf2onnx. What comes out runs
    everywhere, on CPUs without oneDNN too, and is slower for that: channels-first operations are
    transposed, groups become one operation each, a dilated filter is written out with its zeros,
    and paddings that TensorFlow lacks are computed in full and cut off.

    Args:
      src: folder of the SavedModel. Never changed.
      dst: the folder to be written; must not exist. It appears whole or not at all.
      inputs: as `accelerate`.
      check: as `accelerate`.
      tolerance: as `accelerate`.
      seconds: as `accelerate`.
      report: as `accelerate`.

    Returns:
      A `Report`, as `accelerate`.

    Raises:
      ValueError: if stock TensorFlow has no op for one in `src`; the message lists all of them,
        each with the reason. And as `accelerate`.
      FileNotFoundError: as `accelerate`.
      FileExistsError: as `accelerate`.

    Example:
      >>> report = ct.saved_model.to_stock("unet_faster", "unet_portable")  # doctest: +SKIP
      conv2d_transpose/conv_transpose: ConvTransposeND -> Conv2DBackpropInput, BiasAdd, Relu

    Reference:
      `accelerate`, for the way here.
    """
    source, target = pathlib.Path(src), pathlib.Path(dst)
    model = _files.read(source)
    if check:
        _files.check_known_ops(model, source)
    ops = [op for meta in model.meta_graphs for op in _rewrite(meta)]
    refused = [f"{op.function or 'graph'}: {op.name}: {op.what}" for op in ops if not op.rewritten]
    if refused:
        raise ValueError(
            f"stock TensorFlow cannot express {len(refused)} of the {len(ops)} ops in {source}; "
            "nothing was written:\n" + "\n".join(refused)
        )
    notes = [] if ops else ["nothing to rewrite: copied as it is"]
    for line in [*map(str, ops), *notes]:
        report(line)
    with _files.staged(source, target) as staging:
        if ops:
            _files.write(model, staging)
        options = _verify.Options(inputs or {}, tolerance, seconds, report)
        timings = tuple(_verify.compare(source, staging, model, options)) if check else ()
    return Report(tuple(ops), timings, tuple(notes))


def _rewrite(meta: Any) -> list[OpReport]:
    ops = []
    for graph in _graph.graphs(meta):
        for node in list(graph):
            if node.op in _OPS:
                ops.append(_rewrite_one(graph, node))
        graph.commit()
    _files.update_op_list(meta)
    return ops


def _rewrite_one(graph: _graph.Graph, node: Any) -> OpReport:
    op, name = node.op, node.name
    try:
        parts = _expand.expand(graph, node)
    except _expand.NotExpressibleError as reason:
        return OpReport(graph.name, name, op, False, str(reason))
    return OpReport(graph.name, name, op, True, parts)
