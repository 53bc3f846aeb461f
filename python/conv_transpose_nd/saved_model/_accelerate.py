"""Stock transposed convolutions of a SavedModel -> ConvTransposeND."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2

from conv_transpose_nd import _library
from conv_transpose_nd.saved_model import _files, _freeze, _graph, _match, _verify
from conv_transpose_nd.saved_model._report import OpReport, Report

NOTHING = "nothing to rewrite: copied as it is"


def accelerate(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Any] | None = None,
    check: bool = True,
    tolerance: float | None = None,
    freeze: bool = False,
    seconds: float = 1.0,
    report: Callable[[str], object] = print,
) -> Report:
    """Writes a SavedModel that computes what `src` does, with this op for stock ones.

    `Conv2DBackpropInput` and `Conv3DBackpropInputV2` become `ConvTransposeND`, together with a bias
    and an activation that follow, and with the unit axis that `tf.nn.conv1d_transpose` puts in and
    takes out. Signatures, functions, assets, variables and their names are those of `src`, and
    gradients flow where they did. The names of the nodes that vanish do so; the last of each keeps
    its own. Filters that are constants of the graph are marked, so that the op keeps them packed.

    Every signature, and every function of an object that has one, is run before and after on the
    same inputs. `dst` is only written if the outputs agree: by default within 1024 roundings of the
    largest output (16 in half and bfloat16, which both round sums of float32). Sums over many
    channels are off by some tens of roundings, and each layer passes on those of the layers before.

    Args:
      src: folder of the SavedModel. Never changed.
      dst: the folder to be written; must not exist. It appears whole or not at all.
      inputs: name of a signature -> its inputs by name, or path of a function -> list of its
        arguments, where random ones (normal; 0 to 3 for integers; unknown lengths as the model
        takes them, the same for all) do not fit.
      check: False writes without having run anything.
      tolerance: allowed difference, divided by the largest output; None for the above.
      freeze: write signatures only, with variables made constants, so that all their filters can
        be marked. The result cannot be trained.
      seconds: how long each signature is timed, in all.
      report: is given each line of the report, as soon as it is known.

    Returns:
      A `Report`: per op what was done or why not, per signature the time before and after.

    Raises:
      FileNotFoundError: if `src` is no SavedModel, or lacks its variables.
      FileExistsError: if `dst` exists.
      ValueError: if `src` is damaged, holds ops that are not known, does not run on the inputs, or
        if the outputs differ by more than `tolerance`.

    Example:
      >>> report = ct.saved_model.accelerate("unet", "unet_faster")  # doctest: +SKIP
      conv2d_transpose/conv_transpose: Conv2DBackpropInput -> ConvTransposeND, 2-D, bias, relu
      serving_default(x [1, 256, 256, 3]): 48 ms before, 31 ms after, 1.55 times as fast; ...

    Reference:
      `to_stock`, for the way back.
    """
    source, target = pathlib.Path(src), pathlib.Path(dst)
    model = _files.read(source)
    if check:
        _files.check_known_ops(model, source)
    ops: list[OpReport] = []
    notes: list[str] = []
    with _files.staged(source, target) as staging:
        if freeze:
            _freeze.freeze(staging)
            model = _files.read(staging)
        for meta in model.meta_graphs:
            ops += _rewrite(meta, report, check)
        if any(op.rewritten for op in ops):
            _files.write(model, staging)
        else:
            notes.append(NOTHING)
            report(NOTHING)
        options = _verify.Options(inputs or {}, tolerance, seconds, report)
        timings = tuple(_verify.compare(source, staging, model, options)) if check else ()
    return Report(tuple(ops), timings, tuple(notes))


def _rewrite(meta: Any, report: Callable[[str], object], check: bool) -> list[OpReport]:
    ops = []
    compiled = _graph.compiled_functions(meta)
    for graph in _graph.graphs(meta):
        for node in list(graph):
            if node.op in _match.STOCK:
                ops.append(_rewrite_one(graph, node, graph.name in compiled, check))
            elif node.op in _match.OTHERS:
                ops.append(OpReport(graph.name, node.name, node.op, False, _match.OTHERS[node.op]))
            else:
                continue
            report(str(ops[-1]))
        graph.commit()
    _files.update_op_list(meta)
    return ops


def _rewrite_one(graph: _graph.Graph, node: Any, compiled: bool, check: bool) -> OpReport:
    op, name = node.op, node.name
    try:
        found = find(graph, node, compiled, check)
    except _match.LeftAloneError as reason:
        return OpReport(graph.name, name, op, False, str(reason))
    graph.replace(found.names, found.last, _op(graph, found))
    return OpReport(graph.name, name, op, True, _describe(found))


def find(graph: _graph.Graph, node: Any, compiled: bool, check: bool) -> _match.Match:
    """What the op takes over of a stock node, in a function that XLA compiles or not.

    Raises:
      LeftAloneError: if the op does not fit, with the reason.
    """
    if compiled and not _library.has_xla:
        raise _match.LeftAloneError("in a function for XLA, which the op was built without")
    return _match.match(graph, node, check)


def _describe(found: _match.Match) -> str:
    rank = len(_match.ints(found.node, "strides")) - 2 - (found.unit_axis is not None)
    parts = [
        f"ConvTransposeND, {rank}-D",
        *([f"groups {found.groups}"] if found.groups > 1 else []),
        *(["bias"] if found.bias else []),
        *([found.activation] if found.activation != "none" else []),
        "constant filter" if found.constant_filter else "filter that may change",
    ]
    return ", ".join(parts)


def _op(graph: _graph.Graph, found: _match.Match) -> Any:
    """The node of the op, without a name."""
    node, axis = found.node, found.unit_axis
    output_shape = _without(graph, node, axis) if axis is not None else node.input[0]
    bias = [found.bias] if found.bias else []
    op = node_def_pb2.NodeDef(
        op="ConvTransposeND",
        input=[found.input, found.filter, output_shape, *bias],
        device=node.device,
    )
    shapes = _graph.attribute(graph.nodes[found.last], "_output_shapes")
    if shapes.list.shape:
        op.attr["_output_shapes"].CopyFrom(shapes)
    op.attr["T"].CopyFrom(node.attr["T"])
    shape_type = node.attr["Tshape"].type if "Tshape" in node.attr else tf.int32.as_datatype_enum
    op.attr["Tshape"].type = shape_type
    first = _match.channels_first(node)
    attributes = {
        "num_bias": len(bias),
        "strides": _match.dropped(_match.ints(node, "strides"), axis),
        "dilations": _match.dropped(_match.ints(node, "dilations"), axis),
        "padding": node.attr["padding"].s.decode(),
        "explicit_paddings": _match.dropped(_match.ints(node, "explicit_paddings"), axis, 2),
        "output_padding": [],
        "data_format": "CHANNELS_FIRST" if first else "CHANNELS_LAST",
        "groups": found.groups,
        "activation": found.activation,
        "filter_is_constant": found.constant_filter,
    }
    for key, value in attributes.items():
        _graph.set_attribute(op, key, value)
    return op


def _without(graph: _graph.Graph, node: Any, axis: int) -> str:
    """The reference of the output shape without its unit axis."""
    ref = node.input[0]
    sizes = graph.constant(ref)
    producer = graph.producer(ref)
    # Control inputs keep a new constant in the frame of a while loop.
    controls = [f"^{producer.name}"] if producer is not None else []
    name = f"{node.name}/output_shape"
    if sizes is not None:
        value = np.delete(sizes, axis)
        dtype = tf.as_dtype(value.dtype)
        constant = graph.add("Const", name, controls, node.device, dtype=dtype, value=value)
        return graph.ref(constant)
    parts = _graph.data_inputs(producer) if producer is not None else []
    if producer is not None and producer.op == "ConcatV2" and len(parts) == 4:
        # The one that tf.nn.conv1d_transpose builds; TensorFlow sees through it what is static.
        kept = [part for part in parts[:-1] if not _match.is_one(graph.constant(part))]
        if len(kept) == 2:
            concat = graph.add("ConcatV2", name, [*kept, parts[-1]], node.device, [3], N=2)
            for key in ("T", "Tidx"):
                if key in producer.attr:
                    concat.attr[key].CopyFrom(producer.attr[key])
            return graph.ref(concat)
    return _gathered(graph, ref, [i for i in range(4) if i != axis], name, controls, node.device)


def _gathered(
    graph: _graph.Graph, ref: str, indices: list[int], name: str, controls: list[str], device: str
) -> str:
    def constant(suffix: str, value: Any) -> str:
        array = np.array(value, np.int32)
        made = graph.add("Const", f"{name}/{suffix}", controls, device, dtype=tf.int32, value=array)
        return graph.ref(made)

    gather = graph.add(
        "GatherV2",
        name,
        [ref, constant("indices", indices), constant("axis", 0)],
        device,
        [len(indices)],
        Tparams=tf.int32,
        Tindices=tf.int32,
        Taxis=tf.int32,
        batch_dims=0,
    )
    return graph.ref(gather)
