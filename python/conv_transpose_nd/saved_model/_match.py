"""Finds a stock transposed convolution, and what around it the op computes as well."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from conv_transpose_nd.saved_model import _activations, _graph

STOCK = ("Conv2DBackpropInput", "Conv3DBackpropInputV2")
# Transposed convolutions too, which are only reported.
OTHERS = {
    "Conv3DBackpropInput": "deprecated, without a shape that can be read",
    "DepthwiseConv2dNativeBackpropInput": "depthwise, with a filter of another layout",
}
_DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int32)


class LeftAloneError(Exception):
    """Why an op cannot be rewritten."""


@dataclasses.dataclass
class Match:
    """A stock transposed convolution, and what the op takes over from around it.

    Attributes:
      node: the stock node.
      names: of the nodes that the op replaces.
      last: of these, the one whose output the rest of the graph reads.
      input: the reference of the op's input; without the unit axis where `unit_axis` is given.
      filter: likewise.
      unit_axis: axis that was put in for a 2-D op to compute a 1-D one; None if there is none.
      groups: of channels.
      bias: its reference, or None.
      activation: as the op names it.
      constant_filter: whether the filter is a constant of the graph.
    """

    node: Any
    names: set[str]
    last: str
    input: str
    filter: str
    unit_axis: int | None
    groups: int
    bias: str | None
    activation: str
    constant_filter: bool


def match(graph: _graph.Graph, node: Any, checked: bool) -> Match:
    """Says what the op can take over; `checked` says that the result will be run.

    Raises:
      LeftAloneError: if the op does not fit, with the reason.
    """
    if "GPU" in node.device.upper() or "TPU" in node.device.upper():
        raise LeftAloneError(f"placed on {node.device}, and the op runs on CPUs")
    dtype = tf.as_dtype(node.attr["T"].type)
    if dtype not in _DTYPES:
        raise LeftAloneError(f"the dtype {dtype.name} is none of the op's")
    found = Match(
        node=node,
        names={node.name},
        last=node.name,
        input=node.input[2],
        filter=node.input[1],
        unit_axis=None,
        groups=_groups(graph, node, checked),
        bias=None,
        activation="none",
        constant_filter=graph.is_constant(node.input[1]),
    )
    one_dimensional = _one_dimensional(graph, found)
    _follow(graph, found, one_dimensional)
    if one_dimensional is not None and found.unit_axis is None:
        # Nobody takes the axis out again: it stays a 2-D op.
        found.input, found.filter = node.input[2], node.input[1]
    return found


def channels_first(node: Any) -> bool:
    """Whether the data format of a node is NC..., which no attribute says if it is the default."""
    return "data_format" in node.attr and node.attr["data_format"].s.startswith(b"NC")


def ints(node: Any, key: str) -> list[int]:
    """A list attribute; empty where it has its default."""
    return list(node.attr[key].list.i) if key in node.attr else []


def _groups(graph: _graph.Graph, node: Any, checked: bool) -> int:
    """Groups: the channels of the output, divided by those that one filter makes."""
    filter_shape = graph.shape(node.input[1])
    per_group = filter_shape[-2] if filter_shape and len(filter_shape) > 2 else None
    outputs = _out_channels(graph, node)
    if per_group is None or outputs is None:
        # Nearly always 1. If it is not, the op refuses the shapes, which a run shows.
        if checked:
            return 1
        raise LeftAloneError(
            f"the filter has the shape {filter_shape} and the output {outputs} channels while the "
            "graph is built, so that only a run can tell the groups"
        )
    if per_group == 0 or outputs % per_group:
        raise LeftAloneError(f"{outputs} output channels, {per_group} in the filter")
    return outputs // per_group


def _out_channels(graph: _graph.Graph, node: Any) -> int | None:
    rank = len(ints(node, "strides"))
    axis = 1 if channels_first(node) else rank - 1
    shape = graph.shape(node.name if graph.function is None else f"{node.name}:output:0")
    if shape and len(shape) == rank and shape[axis] is not None:
        return shape[axis]
    sizes = graph.constant(node.input[0])
    if sizes is not None and sizes.size == rank:
        return int(sizes[axis])
    pack = graph.operand(node, 0)
    if pack is not None and pack.op == "Pack" and len(_graph.data_inputs(pack)) == rank:
        value = graph.constant(pack.input[axis])
        return None if value is None else int(value)
    return None


def _one_dimensional(graph: _graph.Graph, found: Match) -> int | None:
    """The unit axis of a 1-D operation that is written as a 2-D one; sets its operands."""
    node = found.node
    first = 2 if channels_first(node) else 1
    if node.op != "Conv2DBackpropInput":
        return None
    for axis in (first, first + 1):
        input = _without_unit_axis(graph, node.input[2], axis)
        filter = _without_unit_axis(graph, node.input[1], axis - first)
        padded = any(ints(node, "explicit_paddings")[2 * axis : 2 * axis + 2])
        if input is None or filter is None or padded:
            continue
        if _unit_output(graph, node.input[0], axis):
            found.input, found.filter = input, filter
            return axis
    return None


def _without_unit_axis(graph: _graph.Graph, ref: str, axis: int) -> str | None:
    """The reference that `ref` adds a unit axis to; None if it does something else."""
    node = graph.producer(ref)
    if node is None or node.op not in ("ExpandDims", "Reshape"):
        return None
    before, after = graph.shape(node.input[0]), graph.shape(ref)
    if node.op == "ExpandDims":
        value = graph.constant(node.input[1])
        if value is None:
            return None
        expanded = int(value.reshape(()))
        return str(node.input[0]) if expanded in (axis, axis - 4) else None
    if before is None or after is None or len(before) != 3 or len(after) != 4:
        return None
    rest = after[:axis] + after[axis + 1 :]
    # One unknown length may be equal on both sides; two could have been exchanged.
    same = rest == before and before.count(None) <= 1
    return str(node.input[0]) if same and after[axis] == 1 else None


def _unit_output(graph: _graph.Graph, ref: str, axis: int) -> bool:
    sizes = graph.constant(ref)
    if sizes is not None:
        return sizes.size == 4 and int(sizes[axis]) == 1
    node = graph.producer(ref)
    if node is None or node.op not in ("Pack", "ConcatV2"):
        return False
    length = 0
    for part in _graph.data_inputs(node)[: None if node.op == "Pack" else -1]:
        value = graph.constant(part)
        if length == axis:
            return value is not None and value.size == 1 and int(value.reshape(())) == 1
        shape = graph.shape(part)
        if node.op == "ConcatV2" and (shape is None or len(shape) != 1 or shape[0] is None):
            return False
        length += 1 if node.op == "Pack" else shape[0]  # type: ignore[index,operator]
    return False


def _follow(graph: _graph.Graph, found: Match, unit_axis: int | None) -> None:
    """Takes over bias, activation and the removal of the unit axis, as long as one follows."""
    while True:
        uses = graph.data_uses(found.last)
        reader = uses[0].node if len(uses) == 1 and uses[0].index >= 0 else None
        axis = unit_axis if found.unit_axis is None else None
        if reader is not None and axis is not None and _removes(graph, reader, axis):
            found.unit_axis = axis
            _take(found, {reader.name}, reader.name)
            continue
        if reader is not None and found.bias is None and found.activation == "none":
            bias = _bias(graph, found, reader, uses[0].index)
            if bias is not None:
                found.bias = bias
                _take(found, {reader.name}, reader.name)
                continue
        if found.activation == "none":
            activation = _activations.find(graph, found.last)
            if activation is not None and _fits(found.node, activation[0]):
                found.activation = activation[0]
                _take(found, activation[1], activation[2])
                continue
        return


def _take(found: Match, names: set[str], last: str) -> None:
    found.names |= names
    found.last = last


def _fits(node: Any, activation: str) -> bool:
    integer = tf.as_dtype(node.attr["T"].type).is_integer
    return not integer or activation in _activations.INTEGER_ACTIVATIONS


def _removes(graph: _graph.Graph, node: Any, axis: int) -> bool:
    if node.op == "Squeeze":
        axes = ints(node, "squeeze_dims") or ints(node, "axis")
        return len(axes) == 1 and axes[0] in (axis, axis - 4)
    return node.op == "Reshape" and _inserts_back(graph, node, axis)


def _inserts_back(graph: _graph.Graph, node: Any, axis: int) -> bool:
    before = graph.shape(node.input[0])
    after = graph.shape(node.name if graph.function is None else f"{node.name}:output:0")
    if before is None or after is None or len(before) != 4 or before[axis] != 1:
        return False
    rest = before[:axis] + before[axis + 1 :]
    return rest == after and after.count(None) <= 1


def _bias(graph: _graph.Graph, found: Match, node: Any, index: int) -> str | None:
    """The reference of the bias that `node` adds to its input `index`; None if it adds none."""
    if node.op == "BiasAdd" and index == 0:
        same = channels_first(node) == channels_first(found.node)
        return str(node.input[1]) if same else None
    if node.op not in ("Add", "AddV2") or channels_first(found.node):
        return None
    other = node.input[1 - index]
    shape, channels = graph.shape(other), _out_channels(graph, found.node)
    return str(other) if shape == [channels] else None


def dropped(values: list[int], axis: int | None, width: int = 1) -> list[int]:
    """A list attribute without what it says about the unit axis."""
    if axis is None or not values:
        return values
    return values[: axis * width] + values[(axis + 1) * width :]


def is_one(value: np.ndarray[Any, Any] | None) -> bool:
    """Whether a constant is a single 1."""
    return value is not None and value.size == 1 and int(value.reshape(())) == 1
