"""FLOPs of the three ops, for tf.compat.v1.profiler and everything else that asks a graph."""

from __future__ import annotations

from typing import Any

from tensorflow.python.framework import graph_util_impl, ops

# Of each op: input or output that is the input, the filter, and the output of the forward op.
_PLACES = {
    "ConvTransposeND": (0, 1, None),
    "ConvTransposeNDInputGrad": (None, 1, 0),
    "ConvTransposeNDFilterGrad": (0, None, 2),
}


def geometry_arguments(node: Any) -> dict[str, Any]:
    """What `core.geometry` and `core.plan` take, from the attributes of a node of one of the ops.

    Of a node whose attributes with default values may be missing.
    """
    given = {key: node.attr[key] for key in node.attr}
    found: dict[str, Any] = {"strides": list(given["strides"].list.i)}
    if "dilations" in given and given["dilations"].list.i:
        found["dilations"] = list(given["dilations"].list.i)
    found["padding"] = given["padding"].s.decode()
    if found["padding"] == "EXPLICIT":
        pads = list(given["explicit_paddings"].list.i)
        found["padding"] = list(zip(pads[::2], pads[1::2], strict=True))
    if "data_format" in given:
        found["data_format"] = given["data_format"].s.decode()
    if "groups" in given:
        found["groups"] = given["groups"].i
    return found


def _flops(graph: Any, node: Any) -> ops.OpStats:
    """Two per multiply-add of the definition, counting only taps that land inside.

    Raises:
      ValueError: where a shape is not known, which the profiler takes as "no figure".
    """
    from conv_transpose_nd import core  # a build may be without it, and the ops work all the same

    def shape(place: int | None) -> list[int]:
        name = node.name if place is None else node.input[place]
        known = graph_util_impl.tensor_shape_from_node_def_name(graph, name)
        known.assert_is_fully_defined()
        return [int(length) for length in known]

    input_shape, filter_shape, output_shape = map(shape, _PLACES[node.op])
    plan = core.plan(
        input_shape, filter_shape, output_shape=output_shape, **geometry_arguments(node)
    )
    return ops.OpStats("flops", int(2 * plan["multiply_adds"]))


for _op in _PLACES:
    ops.RegisterStatistics(_op, "flops")(_flops)
