"""Every transposed convolution of a SavedModel, with the lengths that it has while it runs."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from conv_transpose_nd._explain.call import OWN_OP, Call
from conv_transpose_nd.saved_model import _accelerate, _files, _graph, _match, _verify

Shapes = Mapping[str, Sequence[int]] | Sequence[int] | None
_OPS = (*_match.STOCK, OWN_OP)


@dataclasses.dataclass
class Found:
    """What a SavedModel holds.

    Attributes:
      calls: of all signatures, each once.
      notes: what could not be examined, and why.
      inputs: as `accelerate` takes them, where the shape of the input was given.
    """

    calls: list[Call] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)


def find(folder: pathlib.Path, input_shape: Shapes) -> Found:
    """The transposed convolutions of all signatures.

    Args:
      folder: of the SavedModel.
      input_shape: of the signatures' input; or name of an input -> its shape; None tries lengths
        for those that are unknown, as `accelerate` does.

    Raises:
      FileNotFoundError: if there is no SavedModel.
      ValueError: if it is damaged, or if no signature runs on random inputs.
    """
    model = _files.read(folder)
    _files.check_known_ops(model, folder)
    found = Found()
    seen: list[list[Call]] = []
    for meta in model.meta_graphs:
        rewrites = _Rewrites(meta)
        found.notes += rewrites.others
        loaded = _verify.load(folder, list(meta.meta_info_def.tags))
        for name, (function, _) in _verify.callables((loaded, loaded), meta):
            if input_shape is not None:
                found.inputs[name] = _given(function, input_shape)
            here, problems = _in_function(name, function, input_shape, rewrites)
            # Signatures often lead to one function.
            bare = [_without_place(call) for call in here]
            if bare not in seen:
                seen.append(bare)
                found.calls += here
                found.notes += problems
    return found


def _given(function: Any, input_shape: Shapes) -> Any:
    tensors = _inputs(function, input_shape, 0)
    names = sorted(function.structured_input_signature[1])
    return dict(zip(names, tensors, strict=True)) if names else tensors


def _without_place(call: Call) -> Call:
    values = {**vars(call), "where": "", "name": call.name.rsplit("/", 1)[-1]}
    return Call(**values)


class _Rewrites:
    """What `accelerate` would do, by the name that a node has in the function that holds it."""

    def __init__(self, meta: Any) -> None:
        self.by_name: dict[str, tuple[bool, str]] = {}
        self.others: list[str] = []
        compiled = _graph.compiled_functions(meta)
        for graph in _graph.graphs(meta):
            for node in graph:
                if node.op in _match.STOCK:
                    self.by_name[node.name] = _rewrite(graph, node, graph.name in compiled)
                elif node.op in _match.OTHERS:
                    self.others.append(f"{node.name}: {node.op}: {_match.OTHERS[node.op]}")

    def of(self, name: str) -> tuple[bool, str]:
        """Whether the filter is constant, and why it is left alone, of a node that was inlined."""
        ends = [n for n in self.by_name if name == n or name.endswith(f"/{n}")]
        return self.by_name[max(ends, key=len)] if ends else (False, "")


def _rewrite(graph: _graph.Graph, node: Any, compiled: bool) -> tuple[bool, str]:
    try:
        return _accelerate.find(graph, node, compiled, True).constant_filter, ""
    except _match.LeftAloneError as reason:
        return False, str(reason)


def _in_function(
    name: str, function: Any, input_shape: Shapes, rewrites: _Rewrites
) -> tuple[list[Call], list[str]]:
    """Inlines what the function calls, runs it, and looks at the shapes."""
    # Whatever this raises for a graph that it cannot convert; others may be examined.
    try:
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception as error:
        return [], [f"{name}: not examined: {str(error).strip().splitlines()[0]}"]
    graph_def = frozen.graph.as_graph_def(add_shapes=True)
    outputs = [tensor.name.removesuffix(":0") for tensor in frozen.outputs]
    graph = _graph.Graph(graph_def.node, "", outputs)
    nodes = [node for node in graph if node.op in _OPS]
    notes = list(_unreachable(name, graph_def))
    if not nodes:
        return [], notes
    drafts = [_Draft(graph, node) for node in nodes]
    shapes = _shapes(name, function, frozen, [d.refs for d in drafts], input_shape)
    found = [d.call(name, s, rewrites) for d, s in zip(drafts, shapes, strict=True)]
    return found, notes


def _unreachable(name: str, graph_def: Any) -> Iterator[str]:
    for function in graph_def.library.function:
        count = sum(node.op in _OPS for node in function.node_def)
        if count:
            yield (
                f"{name}: {count} in {function.signature.name}, which a loop, a branch or XLA "
                "calls: not examined"
            )


class _Draft:
    """A call but for its lengths."""

    def __init__(self, graph: _graph.Graph, node: Any) -> None:
        self.node = node
        self.match = None
        if node.op == OWN_OP:
            self.refs = [node.input[0], node.input[1], node.name]
            return
        try:
            self.match = _match.match(graph, node, True)
            self.refs = [self.match.input, self.match.filter, self.match.last]
        except _match.LeftAloneError:
            self.refs = [node.input[2], node.input[1], node.name]

    def call(self, where: str, shapes: list[list[int]], rewrites: _Rewrites) -> Call:
        """The call, with the shapes of input, filter and output."""
        node, match = self.node, self.match
        constant, left_alone = rewrites.of(node.name)
        axis = match.unit_axis if match else None
        rank = len(shapes[0]) - 2
        steps = {
            key: _match.dropped(_match.ints(node, key), axis) for key in ("strides", "dilations")
        }
        first = _channels_first(node)
        spatial = slice(2, None) if first else slice(1, -1)
        channels = shapes[2][1] if first else shapes[2][-1]
        own = node.op == OWN_OP
        return Call(
            name=_short(node.name),
            where=where,
            op=node.op,
            input_shape=shapes[0],
            filter_shape=shapes[1],
            output_shape=shapes[2],
            strides=steps["strides"][spatial],
            dilations=steps["dilations"][spatial] or [1] * rank,
            padding=_padding(node, axis, spatial),
            groups=channels // shapes[1][-2] if shapes[1][-2] else 1,
            data_format="CHANNELS_FIRST" if first else "CHANNELS_LAST",
            dtype=tf.as_dtype(node.attr["T"].type).name,
            bias=bool(match.bias) if match else own and len(_graph.data_inputs(node)) > 3,
            activation=match.activation if match else _text(node, "activation") or "none",
            filter_is_constant=_graph.attribute(node, "filter_is_constant").b if own else constant,
            left_alone="" if own else left_alone,
        )


def _short(name: str) -> str:
    """Without the calls that were inlined."""
    parts = name.split("/")
    kept = [p for p in parts[:-1] if not re.fullmatch(r"(Stateful)?PartitionedCall(_\d+)?", p)]
    return "/".join([*kept, parts[-1]])


def _channels_first(node: Any) -> bool:
    return _text(node, "data_format").startswith(("NC", "CHANNELS_FIRST"))


def _text(node: Any, key: str) -> str:
    return str(_graph.attribute(node, key).s.decode())


def _padding(node: Any, axis: int | None, spatial: slice) -> str | list[list[int]]:
    if _text(node, "padding") != "EXPLICIT":
        return _text(node, "padding")
    pads = _match.dropped(_match.ints(node, "explicit_paddings"), axis, 2)
    return [list(pair) for pair in zip(pads[::2], pads[1::2], strict=True)][spatial]


def _shapes(
    name: str, function: Any, frozen: Any, refs: list[list[str]], input_shape: Shapes
) -> list[list[list[int]]]:
    """The shapes of the tensors named in `refs`, in a run on random inputs."""
    with frozen.graph.as_default():
        tensors = [[frozen.graph.get_tensor_by_name(_tensor(ref)) for ref in row] for row in refs]
        fetches = [[tf.shape(tensor, tf.int64) for tensor in row] for row in tensors]
    run = frozen.prune(frozen.inputs, fetches)
    problem = "none"
    for candidate in [0] if input_shape is not None else _verify.LENGTHS:
        try:
            args = _inputs(function, input_shape, candidate)
            found = run(*_ordered(function, frozen, args))
        except (tf.errors.OpError, ValueError, TypeError) as error:
            lines = [line for line in str(error).splitlines() if line.strip() and "[[" not in line]
            problem = lines[-1] if lines else repr(error)
            continue
        return [[[int(n) for n in shape.numpy()] for shape in row] for row in found]
    raise ValueError(
        f"{name} rejects the random inputs that were tried; give their shape, with input_shape "
        f"(--input-shape): {problem}"
    )


def _tensor(ref: str) -> str:
    return ref if ":" in ref else f"{ref}:0"


def _inputs(function: Any, input_shape: Shapes, length: int) -> list[tf.Tensor]:
    """Random tensors, in the order of the function's placeholders."""
    if input_shape is None:
        return _flat(_verify.arguments(function, length))
    specs = _flat(function.structured_input_signature, tf.TensorSpec)
    given = input_shape if isinstance(input_shape, Mapping) else {"": input_shape}
    if not isinstance(input_shape, Mapping) and len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"input_shape must have a shape per input, of {names}; got {input_shape}")
    shaped = []
    for spec in specs:
        shape = given.get(spec.name, given.get("", spec.shape))
        if not spec.shape.is_compatible_with(shape):
            raise ValueError(f"input_shape of {spec.name} must fit {spec.shape}, got {shape}")
        shaped.append(tf.TensorSpec(shape, spec.dtype))
    return [_verify.random_tensor(spec) for spec in shaped]


def _flat(value: Any, kind: Any = tf.Tensor) -> list[Any]:
    return [leaf for leaf in tf.nest.flatten(value) if isinstance(leaf, kind)]


def _ordered(function: Any, frozen: Any, args: list[tf.Tensor]) -> list[tf.Tensor]:
    """The arguments by the order of the frozen function's placeholders, which keep their names."""
    by_name = dict(zip((t.name for t in function.inputs), args, strict=False))
    return [by_name[tensor.name] for tensor in frozen.inputs]
