"""One list of nodes, a graph's or a function's, as a graph that can be read and rewritten."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2
from tensorflow.python.framework import op_def_registry

Dim = int | None
# What a node only passes on, where its shape does not matter.
_PASS = ("Identity", "ReadVariableOp")


@dataclasses.dataclass(frozen=True)
class Use:
    """Input `index` of `node` reads `ref`; node None: the outside does. Index -1: control."""

    node: Any
    index: int
    ref: str


class Graph:
    """Nodes by name, who reads them, and what is known about their outputs.

    A reference is "node" or "node:1" in a graph, "node:output:0" in a function, and "argument" for
    what a function is given.
    """

    def __init__(
        self,
        nodes: Any,
        name: str,
        outside: Iterable[str],
        function: Any = None,
        captures: Captures | None = None,
    ) -> None:
        """Reads `nodes`, a repeated field; `outside` are the references that must stay."""
        self.name = name
        self.function = function
        self._captures = captures or Captures([], {}, collections.Counter())
        self._list = nodes
        self.nodes = {node.name: node for node in nodes}
        self._outside = list(outside)
        self._replaced: dict[str, str] = {}
        self._find_uses()

    def _find_uses(self) -> None:
        self.uses: dict[str, list[Use]] = {}
        for node in self.nodes.values():
            for index, ref in enumerate(node.input):
                self._add_use(Use(node, -1 if ref[0] == "^" else index, ref))
        for ref in self._outside:
            self._add_use(Use(None, -1 if ref[0] == "^" else 0, ref))

    def _add_use(self, use: Use) -> None:
        self.uses.setdefault(owner(use.ref), []).append(use)

    def producer(self, ref: str) -> Any | None:
        """The node that has this output; None for an argument of the function."""
        return self.nodes.get(owner(ref))

    def operand(self, node: Any, index: int) -> Any | None:
        """The producer of an input of `node`."""
        return self.producer(node.input[index])

    def constant(self, ref: str) -> np.ndarray[Any, Any] | None:
        """The value of an output that is the same in every call; None for all others."""
        node = self.producer(ref)
        if node is None:
            return None
        if node.op == "Const":
            return tf.make_ndarray(node.attr["value"].tensor)
        if node.op == "Identity":
            return self.constant(node.input[0])
        return None

    def is_constant(self, ref: str) -> bool:
        """Whether `constant` has a value, without making it."""
        node = self.producer(ref)
        if node is not None and node.op in ("Identity", "ExpandDims", "Reshape"):
            return all(self.is_constant(r) for r in data_inputs(node))
        return node is not None and node.op == "Const"

    def shape(self, ref: str) -> list[Dim] | None:
        """What is known statically about the shape of an output; None if not even its rank."""
        node = self.producer(ref)
        if node is None:
            return self._argument_shape(ref)
        if node.op == "Const":
            return [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim]
        position = _position(ref)
        shapes = attribute(node, "_output_shapes").list.shape
        if position < len(shapes) and not shapes[position].unknown_rank:
            return [dim.size if dim.size >= 0 else None for dim in shapes[position].dim]
        if node.op in _PASS:
            return self.shape(node.input[0])
        if "shape" in node.attr and node.op in ("VarHandleOp", "VariableV2", "Placeholder"):
            shape = node.attr["shape"].shape
            if not shape.unknown_rank:
                return [dim.size if dim.size >= 0 else None for dim in shape.dim]
        return None

    def _argument_shape(self, ref: str) -> list[Dim] | None:
        if self.function is None:
            return None
        names = [argument.name for argument in self.function.signature.input_arg]
        if ref not in names:
            return None
        index = names.index(ref)
        if index not in self.function.arg_attr:
            return None
        shapes = attribute(self.function.arg_attr[index], "_output_shapes").list.shape
        if not shapes or shapes[0].unknown_rank:
            return None
        return [dim.size if dim.size >= 0 else None for dim in shapes[0].dim]

    def data_uses(self, name: str) -> list[Use]:
        """Who reads an output of this node, or waits for it; not those that nobody reads."""
        return [use for use in self.uses.get(name, []) if not self._is_dead(use.node)]

    def _is_dead(self, node: Any) -> bool:
        pure = node is not None and node.op in ("Identity", "IdentityN")
        return pure and not self.data_uses(node.name)

    def removable(self, names: Iterable[str], last: str) -> str | None:
        """Why `names` but for `last` cannot go: who else reads one of them; None if they can."""
        names = set(names)
        if not all(is_first_output(use.ref) for use in self.data_uses(last)):
            return f"another output of {last} is read"
        for name in sorted(names - {last}):
            for use in self.data_uses(name):
                if use.node is None:
                    return f"{name} is an output of the {'function' if self.name else 'graph'}"
                if use.node.name not in names and use.index >= 0:
                    return f"{name} is also read by {use.node.name}"
            if self._captures.needed(self.name, name, [self.nodes[n] for n in names]):
                return f"{name} is read by the gradient of another node"
        return None

    def fresh(self, name: str) -> str:
        """A name that no node and no argument has."""
        taken = set(self.nodes)
        if self.function is not None:
            taken |= {argument.name for argument in self.function.signature.input_arg}
        candidates = (f"{name}_{i}" if i else name for i in range(len(taken) + 1))
        return next(c for c in candidates if c not in taken)

    def ref(self, node: Any, index: int = 0) -> str:
        """The reference to an output of `node`, one of the first that its definition lists."""
        if self.function is not None:
            return f"{node.name}:{output_name(node.op)}:{index}"
        return f"{node.name}:{index}" if index else str(node.name)

    def add(
        self,
        op: str,
        name: str,
        inputs: Iterable[str],
        device: str = "",
        shape: list[Dim] | None = None,
        **attributes: Any,
    ) -> Any:
        """Adds a node of the static `shape`; attributes are values that `set_attribute` takes."""
        node = node_def_pb2.NodeDef(op=op, name=self.fresh(name), input=list(inputs), device=device)
        if shape is not None:
            known = tf.TensorShape(shape).as_proto()
            node.attr["_output_shapes"].list.shape.append(known)
        for key, value in attributes.items():
            set_attribute(node, key, value)
        self.nodes[node.name] = node
        for index, ref in enumerate(node.input):
            self._add_use(Use(node, -1 if ref[0] == "^" else index, ref))
        return node

    def replace(self, names: Iterable[str], last: str, node: Any) -> None:
        """Puts `node` (not in the graph) under the name `last`, in the place of all of `names`.

        Their control inputs become those of `node`, and who waited for one of them waits for it.
        """
        names = set(names)
        names |= self._dead_readers(names)
        controls = {
            ref
            for name in names
            for ref in self.nodes[name].input
            if ref[0] == "^" and ref[1:] not in names
        }
        output = output_name(node.op)
        node.name = last
        node.input.extend(sorted(controls - set(node.input)))
        readers = [use.node for name in names for use in self.uses.get(name, []) if use.node]
        for reader in [*readers, node]:
            self._redirect(reader, names, last, output)
        kept = ((key, node if key == last else value) for key, value in self.nodes.items())
        self.nodes = {key: value for key, value in kept if key == last or key not in names}
        if self.function is not None:
            self._redirect_returns(names, last, output)
        self._outside = [self._moved(ref, names, last, output) for ref in self._outside]
        self._replaced |= dict.fromkeys(names, last)
        self._find_uses()

    def commit(self) -> None:
        """Writes the nodes back to where they were read from."""
        copies = [node_def_pb2.NodeDef.FromString(n.SerializeToString()) for n in self]
        gone = {
            f"loc:@{old}".encode(): f"loc:@{new}".encode() for old, new in self._replaced.items()
        }
        for node in copies:
            if "_class" in node.attr:
                places = node.attr["_class"].list.s
                moved = [gone.get(place, place) for place in places]
                del places[:]
                places.extend(moved)
        del self._list[:]
        self._list.extend(copies)
        self._captures.redirect(self.name, self._replaced)

    def _dead_readers(self, names: set[str]) -> set[str]:
        readers = {use.node.name for n in names for use in self.uses.get(n, []) if use.node}
        return {name for name in readers - names if self._is_dead(self.nodes[name])}

    def _moved(self, ref: str, names: set[str], last: str, output: str) -> str:
        if owner(ref) not in names:
            return ref
        if ref[0] == "^":
            return f"^{last}"
        return f"{last}:{output}:0" if self.function is not None else last

    def _redirect(self, node: Any, names: set[str], last: str, output: str) -> None:
        inputs = [self._moved(ref, names, last, output) for ref in node.input]
        data = [ref for ref in inputs if ref[0] != "^"]
        controls = dict.fromkeys(ref for ref in inputs if ref[0] == "^")
        del node.input[:]
        node.input.extend([*data, *controls])

    def _redirect_returns(self, names: set[str], last: str, output: str) -> None:
        for key, ref in list(self.function.ret.items()):
            self.function.ret[key] = self._moved(ref, names, last, output)
        for key, name in list(self.function.control_ret.items()):
            self.function.control_ret[key] = last if name in names else name

    def __iter__(self) -> Iterator[Any]:
        """The nodes, in their order."""
        return iter(list(self.nodes.values()))


class Captures:
    """Tensors inside functions that functions with custom gradients read, outside of the graphs.

    A node whose gradient is such a function names it in an attribute. Without the node the function
    is never called; but TensorFlow still loads it, so that what it reads must have a name.
    """

    def __init__(
        self, tensors: list[Any], types: dict[int, list[str]], counts: collections.Counter[str]
    ) -> None:
        """Takes the messages, the gradients that read each, and how many nodes have those."""
        self._tensors, self._types, self._counts = tensors, types, counts

    def needed(self, function: str, name: str, removed: list[Any]) -> bool:
        """Whether a gradient that stays reads the node `name` if the nodes `removed` vanish."""
        gone = _gradient_types(removed)
        return any(
            any(not t or gone[t] < self._counts[t] for t in self._types[index] or [""])
            for index, tensor in enumerate(self._tensors)
            if tensor.concrete_function == function and owner(tensor.name) == name
        )

    def redirect(self, function: str, replaced: Mapping[str, str]) -> None:
        """Names nodes that are there for those that are not."""
        for tensor in self._tensors:
            name = owner(tensor.name)
            if tensor.concrete_function == function and name in replaced:
                tensor.name = f"{replaced[name]}:0"


def _captures(meta: Any) -> Captures:
    objects, library = meta.object_graph_def, meta.graph_def.library
    ids = [i for i, n in enumerate(objects.nodes) if n.WhichOneof("kind") == "captured_tensor"]
    types: dict[int, list[str]] = {position: [] for position in range(len(ids))}
    named: dict[str, list[str]] = {}
    for gradient in library.registered_gradients:
        named.setdefault(gradient.gradient_func, []).append(gradient.registered_op_type)
    for name, function in objects.concrete_functions.items():
        for position, index in enumerate(ids):
            if index in function.bound_inputs:
                types[position] += named.get(name, [""])
    nodes = [*meta.graph_def.node, *(n for f in library.function for n in f.node_def)]
    tensors = [objects.nodes[i].captured_tensor for i in ids]
    return Captures(tensors, types, _gradient_types(nodes))


def _gradient_types(nodes: Iterable[Any]) -> collections.Counter[str]:
    found = (n.attr["_gradient_op_type"].s.decode() for n in nodes if "_gradient_op_type" in n.attr)
    return collections.Counter(found)


def graphs(meta: Any) -> Iterator[Graph]:
    """The graph of a meta graph, then its functions."""
    captures = _captures(meta)
    yield Graph(meta.graph_def.node, "", _fetched(meta), captures=captures)
    for function in meta.graph_def.library.function:
        outside = [*function.ret.values(), *(f"^{name}" for name in function.control_ret.values())]
        yield Graph(function.node_def, function.signature.name, outside, function, captures)


def owner(ref: str) -> str:
    """The name of the node, or of the argument, that a reference is to."""
    return ref.lstrip("^").split(":", 1)[0]


def output_name(op: str) -> str:
    """What the definition of `op` calls its first output."""
    return str(op_def_registry.get(op).output_arg[0].name)


def data_inputs(node: Any) -> list[str]:
    """The references of the inputs that are no control inputs."""
    return [ref for ref in node.input if ref[0] != "^"]


def is_first_output(ref: str) -> bool:
    """Whether a reference is to the first output of a node."""
    return _position(ref) == 0


def _position(ref: str) -> int:
    # An op may have several lists of outputs; those that are rewritten have one output.
    last = ref.rsplit(":", 1)[-1]
    return int(last) if ":" in ref and last.isdigit() else 0


def _fetched(meta: Any) -> list[str]:
    """The references of a graph that the rest of the SavedModel, or a user of TF1, may name."""
    found = []
    for signature in meta.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            found += [info.name] if info.name else []
            found += [part.name for part in info.composite_tensor.components]
    for collection in meta.collection_def.values():
        found += list(collection.node_list.value)
    return found


def attribute(message: Any, key: str) -> Any:
    """An attribute of a node or a function; without a value where it is not set.

    Protocol buffers put an empty value into a message when one is asked for that is not there, and
    TensorFlow refuses such a message.
    """
    return message.attr[key] if key in message.attr else attr_value_pb2.AttrValue()


def set_attribute(node: Any, key: str, value: Any) -> None:
    """Sets an attribute from a dtype, bool, int, str, float, list of int, or array (a tensor)."""
    value_of = node.attr[key]
    if isinstance(value, tf.DType):
        value_of.type = value.as_datatype_enum
    elif isinstance(value, bool):
        value_of.b = value
    elif isinstance(value, int):
        value_of.i = value
    elif isinstance(value, float):
        value_of.f = value
    elif isinstance(value, str):
        value_of.s = value.encode()
    elif isinstance(value, np.ndarray):
        value_of.tensor.CopyFrom(tf.make_tensor_proto(value))
    else:
        value_of.list.SetInParent()  # an empty list is a value, too
        value_of.list.i.extend(value)


def compiled_functions(meta: Any) -> set[str]:
    """The functions that XLA must compile, with those that they call."""
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    found = {n for n, f in functions.items() if attribute(f, "_XlaMustCompile").b}
    found |= {n for f in functions.values() for n in _compiled_calls(f.node_def)}
    found |= set(_compiled_calls(meta.graph_def.node))
    return reached(functions, found)


def reached(functions: Mapping[str, Any], start: Iterable[str]) -> set[str]:
    """The functions named in `start`, and all that they call."""
    found: set[str] = set()
    waiting = [name for name in start if name in functions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [n for n in called(functions[name].node_def) if n in functions]
    return found


def called(nodes: Iterable[Any]) -> set[str]:
    """The names of the functions that `nodes` call."""
    found = {node.op for node in nodes}
    for node in nodes:
        for attribute in node.attr.values():
            found |= {attribute.func.name} if attribute.func.name else set()
            found |= {function.name for function in attribute.list.func}
    return found


def _compiled_calls(nodes: Iterable[Any]) -> set[str]:
    return called([node for node in nodes if attribute(node, "_XlaMustCompile").b])
