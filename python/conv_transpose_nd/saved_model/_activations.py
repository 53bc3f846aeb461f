"""Which activation follows: known by its op, or by its values where it is several ops.

`tf.nn.gelu` and `tf.nn.silu` are six ops or four, and others in each version of TensorFlow. What
they compute has not changed, so that is what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conv_transpose_nd.saved_model import _graph

Array = Any

_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


# The op's activations, as cc/core/activation.h defines them.
FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "leaky_relu": lambda z: np.where(z < 0, 0.2 * z, z),
    "elu": lambda z: np.where(z < 0, np.expm1(np.minimum(z, 0)), z),
    "gelu": lambda z: 0.5 * z * _erfc(-z * math.sqrt(0.5)),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda z: z * _sigmoid(z),
}
INTEGER_ACTIVATIONS = ("relu", "relu6")

# What a node computes elementwise: from its inputs, and for one op from an attribute.
_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "Relu": FUNCTIONS["relu"],
    "Relu6": FUNCTIONS["relu6"],
    "Elu": FUNCTIONS["elu"],
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Erf": _erf,
    "Erfc": _erfc,
    "Exp": np.exp,
    "Expm1": np.expm1,
    "Neg": np.negative,
    "Square": np.square,
    "Mul": np.multiply,
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "RealDiv": np.divide,
    "Pow": np.power,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Identity": lambda z: z,
    "IdentityN": lambda z, *_: z,
}
_MAX_NODES = 16

# Dense around the kinks, and far enough out for the tails. Not so far that exp overflows.
_POINTS = np.concatenate([np.linspace(-8, 8, 321), [-30.0, -12.0, 12.0, 30.0, -1e-4, 1e-4]])
# Constants in the graph are float32 at worst: each of a few steps is off by 2^-24 of its result,
# which the cube of gelu_tanh triples. The two forms of gelu are 5e-4 apart.
_CLOSE = 1e-5


def find(graph: _graph.Graph, ref: str) -> tuple[str, set[str], str] | None:
    """The activation of the output `ref`.

    Returns:
      Its name, the names of the nodes that compute it, and that of the last of them; None if none
      follows. All other nodes that read `ref` are among them.
    """
    values: dict[str, Array] = {_graph.owner(ref): _POINTS}
    readers: dict[str, set[str]] = {_graph.owner(ref): set()}  # what each node was computed from
    order = [_graph.owner(ref)]
    for name in order:
        for use in graph.data_uses(name):
            node = use.node
            if node is None or use.index < 0 or node.name in values or len(order) > _MAX_NODES:
                continue
            result = _value(graph, node, values)
            if result is None:
                continue
            before, value = result
            values[node.name] = value
            readers[node.name] = set().union(*(readers[n] for n in before)) | {node.name}
            order.append(node.name)
            activation = _recognised(value)
            names = readers[node.name]
            if activation and _closed(graph, {_graph.owner(ref), *names}, node.name):
                return activation, names, node.name
    return None


def _value(
    graph: _graph.Graph, node: Any, values: dict[str, Array]
) -> tuple[list[str], Array] | None:
    """What `node` was computed from, and its values; None if that is not known (yet)."""
    if node.op == "LeakyRelu":
        slope = node.attr["alpha"].f if "alpha" in node.attr else 0.2
        z = values.get(_graph.owner(node.input[0]))
        return None if z is None else ([_graph.owner(node.input[0])], np.where(z < 0, slope * z, z))
    if node.op not in _ELEMENTWISE:
        return None
    before, operands = [], []
    for ref in _graph.data_inputs(node):
        name = _graph.owner(ref)
        if name in values and _graph.is_first_output(ref):
            before.append(name)
            operands.append(values[name])
            continue
        constant = graph.constant(ref)
        if constant is None or constant.size != 1 or constant.ndim > 1:
            return None
        operands.append(np.float64(constant.reshape(())))
    with np.errstate(all="ignore"):
        return before, _ELEMENTWISE[node.op](*operands)


def _recognised(value: Array) -> str | None:
    for name, function in FUNCTIONS.items():
        expected = function(_POINTS)
        if np.all(np.abs(value - expected) <= _CLOSE * np.maximum(np.abs(expected), 1e-3)):
            return name
    return None


def _closed(graph: _graph.Graph, names: set[str], last: str) -> bool:
    return graph.removable(names, last) is None
