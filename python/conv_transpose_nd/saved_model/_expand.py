"""One ConvTransposeND -> stock ops that compute the same on every device."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np
import tensorflow as tf

from conv_transpose_nd.saved_model import _graph

_OPS = {1: "Conv2DBackpropInput", 2: "Conv2DBackpropInput", 3: "Conv3DBackpropInputV2"}
_ACTIVATIONS = {
    "relu": "Relu",
    "relu6": "Relu6",
    "elu": "Elu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}


class NotExpressibleError(Exception):
    """Why stock TensorFlow has no op for one of ours."""


def expand(graph: _graph.Graph, node: Any) -> str:
    """Replaces `node` by stock ops and says which.

    Raises:
      NotExpressibleError: with the reason. The graph is as before.
    """
    return _Expansion(graph, node).run()


class _Expansion:
    """Adds nodes for one op. Everything between is channels last."""

    def __init__(self, graph: _graph.Graph, node: Any) -> None:
        self.graph, self.node = graph, node
        if node.op != "ConvTransposeND":
            raise NotExpressibleError("a gradient: export the forward function alone")
        self.strides = list(_graph.attribute(node, "strides").list.i)
        self.rank = len(self.strides) - 2
        if self.rank > 3:
            raise NotExpressibleError(f"{self.rank} spatial axes, and no stock op has more than 3")
        self.dtype = tf.as_dtype(_graph.attribute(node, "T").type)
        if self.rank == 3 and self.dtype == tf.int32:
            raise NotExpressibleError("int32 with 3 spatial axes, which the stock op lacks")
        filter_shape = graph.shape(node.input[1])
        if filter_shape is None or None in filter_shape:
            raise NotExpressibleError("its filter has no static shape")
        self.filter_shape = [int(d or 0) for d in filter_shape]
        self.sizes_given = self._sizes_given()
        self.groups = _graph.attribute(node, "groups").i if "groups" in node.attr else 1
        self.first = _graph.attribute(node, "data_format").s == b"CHANNELS_FIRST"
        self.padding = _graph.attribute(node, "padding").s.decode()
        # Where we are: input, filter, sizes and output, as references.
        self.made: list[Any] = []

    def run(self) -> str:
        spatial = slice(2, None) if self.first else slice(1, -1)
        self.stride = self.strides[spatial]
        dilations = list(_graph.attribute(self.node, "dilations").list.i) or [1] * (self.rank + 2)
        self.dilation = dilations[spatial]
        pairs = list(_graph.attribute(self.node, "explicit_paddings").list.i) or [0] * 2 * (
            self.rank + 2
        )
        pads = list(zip(pairs[::2], pairs[1::2], strict=True))[spatial]
        self.pads = [(int(a), int(b)) for a, b in pads]
        self.taps = [
            (k - 1) * d + 1 for k, d in zip(self.filter_shape, self.dilation, strict=False)
        ]
        input, filter = self.node.input[0], self._dense_filter(self.node.input[1])
        to_last = [0, *range(2, self.rank + 2), 1]
        if self.first:
            input = self._transposed(input, to_last)
        sizes = self._sizes(input, to_last)
        output = self._padded(input, filter, sizes)
        if _graph.attribute(self.node, "num_bias").i:
            output = self.add("BiasAdd", [output, self.node.input[3]], T=self.dtype)
        output = self._activated(output)
        if self.first:
            self._transposed(output, [0, self.rank + 1, *range(1, self.rank + 1)])
        return self._finish()

    def add(self, op: str, inputs: list[str], shape: Any = None, **attributes: Any) -> str:
        """Adds a node of the static `shape` and returns the reference to its output."""
        name = f"{self.node.name}/{op}"
        self.made.append(self.graph.add(op, name, inputs, self.node.device, shape, **attributes))
        return self.graph.ref(self.made[-1])

    def ints(self, values: Any) -> str:
        """A constant of int32. Its control inputs keep it in the frame of a while loop."""
        value = np.array(values, np.int32)
        producer = self.graph.producer(self.node.input[0])
        controls = [f"^{producer.name}"] if producer is not None else []
        return self.add("Const", controls, dtype=tf.int32, value=value)

    def number(self, value: float, dtype: tf.DType) -> str:
        producer = self.graph.producer(self.node.input[0])
        controls = [f"^{producer.name}"] if producer is not None else []
        array = np.array(value, dtype.as_numpy_dtype)
        return self.add("Const", controls, dtype=dtype, value=array)

    def _sizes_given(self) -> bool:
        shape = self.graph.shape(self.node.input[2])
        if not shape or shape[0] is None:
            raise NotExpressibleError("its output_shape has no static length, and may be empty")
        return shape[0] > 0

    def _dense_filter(self, filter: str) -> str:
        """The filter with the zeros of its dilations: few devices have dilated kernels."""
        if max(self.dilation) == 1:
            return filter
        taps, channels = self.filter_shape[: self.rank], self.filter_shape[self.rank :]
        apart = [length for k in taps for length in (k, 1)]
        zeros = [pair for d in self.dilation for pair in ((0, 0), (0, d - 1))]
        joined = [k * d for k, d in zip(taps, self.dilation, strict=True)]
        types = {"T": self.dtype, "Tshape": tf.int32}
        filter = self.add("Reshape", [filter, self.ints([*apart, *channels])], **types)
        paddings = self.ints([*zeros, (0, 0), (0, 0)])
        filter = self.add("Pad", [filter, paddings], T=self.dtype, Tpaddings=tf.int32)
        filter = self.add("Reshape", [filter, self.ints([*joined, *channels])], **types)
        begin, size = self.ints([0] * len(self.filter_shape)), self.ints([*self.taps, *channels])
        dense = [*self.taps, *channels]
        return self.add("Slice", [filter, begin, size], dense, T=self.dtype, Index=tf.int32)

    def _transposed(self, ref: str, axes: list[int]) -> str:
        return self.add("Transpose", [ref, self.ints(axes)], T=self.dtype, Tperm=tf.int32)

    def _sizes(self, input: str, to_last: list[int]) -> str:
        """The shape of the output, channels last, in int32."""
        if not self.sizes_given:
            return self._inferred_sizes(input)
        sizes = self.node.input[2]
        if _graph.attribute(self.node, "Tshape").type == tf.int64.as_datatype_enum:
            sizes = self.add("Cast", [sizes], SrcT=tf.int64, DstT=tf.int32, Truncate=False)
        if not self.first:
            return sizes
        types = {"Tparams": tf.int32, "Tindices": tf.int32, "Taxis": tf.int32, "batch_dims": 0}
        return self.add("GatherV2", [sizes, self.ints(to_last), self.ints(0)], **types)

    def _inferred_sizes(self, input: str) -> str:
        added = list(_graph.attribute(self.node, "output_padding").list.i)
        offsets = []
        for a, (s, k) in enumerate(zip(self.stride, self.taps, strict=True)):
            if not self.padding.startswith("SAME"):
                cut, extra = sum(self.pads[a]), added[a] if added else 0
                offsets.append(k - s - cut + extra)
            else:
                offsets.append(k % 2 - s + added[a] if added else 0)
        return self._affine(input, self.stride, offsets, 1, self._out_channels())

    def _affine(
        self, input: str, factors: list[int], offsets: list[int], batch: int, c: int
    ) -> str:
        """The shape of `input`, times `factors` and plus `offsets` on the spatial axes."""
        shape = self.add("Shape", [input], T=self.dtype, out_type=tf.int32)
        product = self.add("Mul", [shape, self.ints([batch, *factors, 0])], T=tf.int32)
        return self.add("AddV2", [product, self.ints([0, *offsets, c])], T=tf.int32)

    def _out_channels(self) -> int:
        return self.filter_shape[-2] * self.groups

    def _padded(self, input: str, filter: str, sizes: str) -> str:
        """The operation; where its padding is none of the stock op's, in full and cut off."""
        if self.padding in ("SAME", "VALID"):
            return self._grouped(input, filter, sizes, self.padding)
        if self.padding == "EXPLICIT" and self.rank < 3:
            return self._grouped(input, filter, sizes, "EXPLICIT")
        if self.padding == "EXPLICIT":
            begin = self.ints([0, *(before for before, _ in self.pads), 0])
            cut = self.ints([0, *map(sum, self.pads), 0])
            full = self.add("AddV2", [sizes, cut], T=tf.int32)
        else:
            offsets = [k - s for k, s in zip(self.taps, self.stride, strict=True)]
            valid = self._affine(input, self.stride, offsets, 0, 0)
            full = self.add("Maximum", [sizes, valid], T=tf.int32)
            total = self.add("Sub", [full, sizes], T=tf.int32)
            more = self.add("AddV2", [total, self.ints(1)], T=tf.int32)
            begin = self.add("FloorDiv", [more, self.ints(2)], T=tf.int32)
        output = self._grouped(input, filter, full, "VALID")
        return self.add("Slice", [output, begin, sizes], T=self.dtype, Index=tf.int32)

    def _grouped(self, input: str, filter: str, sizes: str, padding: str) -> str:
        if self.groups == 1:
            return self._plain(input, filter, sizes, padding)
        others = self._out_channels() - self.filter_shape[-2]
        less = self.ints([0] * (self.rank + 1) + [others])
        sizes = self.add("Sub", [sizes, less], T=tf.int32)
        channels = self.ints(self.rank + 1)
        inputs = self._split(channels, input)
        filters = self._split(channels, filter)
        outputs = [self._plain(i, f, sizes, padding) for i, f in zip(inputs, filters, strict=True)]
        types = {"N": self.groups, "T": self.dtype, "Tidx": tf.int32}
        return self.add("ConcatV2", [*outputs, channels], **types)

    def _split(self, axis: str, ref: str) -> list[str]:
        self.add("Split", [axis, ref], num_split=self.groups, T=self.dtype)
        return [self.graph.ref(self.made[-1], i) for i in range(self.groups)]

    def _plain(self, input: str, filter: str, sizes: str, padding: str) -> str:
        types = {"T": self.dtype, "Tdim": tf.int32}
        unit = [1] if self.rank == 1 else []
        if unit:
            input = self.add("ExpandDims", [input, self.ints(1)], **types)
            taps = [1, *self.taps, self.filter_shape[-2], None]
            filter = self.add("ExpandDims", [filter, self.ints(0)], taps, **types)
            sizes = self._with_unit(sizes)
        pads = [pad for pair in self.pads for pad in pair]
        attributes = {
            "strides": [1, *unit, *self.stride, 1],
            "dilations": [1] * (self.rank + 2 + len(unit)),
            "padding": padding,
            "data_format": "NDHWC" if self.rank == 3 else "NHWC",
        }
        if padding == "EXPLICIT":
            attributes["explicit_paddings"] = [0, 0, *[0, 0] * len(unit), *pads, 0, 0]
        if self.rank == 3:
            attributes["Tshape"] = tf.int32
        shape = [None] * (self.rank + 1 + len(unit)) + [self.filter_shape[-2]]
        operands = [sizes, filter, input]
        output = self.add(_OPS[self.rank], operands, shape, T=self.dtype, **attributes)
        if unit:
            output = self.add("Squeeze", [output], T=self.dtype, squeeze_dims=[1])
        return output

    def _with_unit(self, sizes: str) -> str:
        """The sizes of the 2-D op, in the form that `accelerate` takes apart again."""
        ints = {"T": tf.int32, "Tidx": tf.int32}
        masks = {"ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
        slices = {"T": tf.int32, "Index": tf.int32, **masks}
        bounds = [self.ints([0]), self.ints([1]), self.ints([1])]
        batch = self.add("StridedSlice", [sizes, *bounds], [1], begin_mask=1, end_mask=0, **slices)
        bounds = [self.ints([1]), self.ints([0]), self.ints([1])]
        rest = self.add("StridedSlice", [sizes, *bounds], [2], begin_mask=0, end_mask=1, **slices)
        return self.add("ConcatV2", [batch, self.ints([1]), rest, self.ints(0)], [4], N=3, **ints)

    def _activated(self, z: str) -> str:
        name = (
            _graph.attribute(self.node, "activation").s.decode()
            if "activation" in self.node.attr
            else "none"
        )
        if name == "none":
            return z
        if name in _ACTIVATIONS:
            return self.add(_ACTIVATIONS[name], [z], T=self.dtype)
        if name == "leaky_relu":
            return self.add("LeakyRelu", [z], T=self.dtype, alpha=0.2)
        # Several steps: in float32 at least, as the op does.
        narrow = self.dtype in (tf.float16, tf.bfloat16)
        dtype = tf.float32 if narrow else self.dtype
        if narrow:
            z = self.add("Cast", [z], SrcT=self.dtype, DstT=dtype, Truncate=False)
        z = {"silu": _silu, "gelu": _gelu, "gelu_tanh": _gelu_tanh}[name](self, z, dtype)
        if narrow:
            z = self.add("Cast", [z], SrcT=dtype, DstT=self.dtype, Truncate=False)
        return z

    def _finish(self) -> str:
        """Gives the last node the name of the op. Nothing else in the graph notices."""
        last = self.made.pop()
        del self.graph.nodes[last.name]
        if "_output_shapes" in self.node.attr:
            last.attr["_output_shapes"].CopyFrom(_graph.attribute(self.node, "_output_shapes"))
        counted = collections.Counter(n.op for n in [*self.made, last] if n.op != "Const")
        self.graph.replace({self.node.name}, self.node.name, last)
        return ", ".join(f"{n} {op}" if n > 1 else op for op, n in counted.items())


def _silu(on: _Expansion, z: str, dtype: tf.DType) -> str:
    return on.add("Mul", [z, on.add("Sigmoid", [z], T=dtype)], T=dtype)


def _gelu(on: _Expansion, z: str, dtype: tf.DType) -> str:
    scaled = on.add("Mul", [z, on.number(-math.sqrt(0.5), dtype)], T=dtype)
    tail = on.add("Erfc", [scaled], T=dtype)
    half = on.add("Mul", [z, on.number(0.5, dtype)], T=dtype)
    return on.add("Mul", [half, tail], T=dtype)


def _gelu_tanh(on: _Expansion, z: str, dtype: tf.DType) -> str:
    cube = on.add("Mul", [on.add("Square", [z], T=dtype), z], T=dtype)
    cube = on.add("Mul", [cube, on.number(0.044715, dtype)], T=dtype)
    inner = on.add("AddV2", [z, cube], T=dtype)
    inner = on.add("Mul", [inner, on.number(math.sqrt(2 / math.pi), dtype)], T=dtype)
    tanh = on.add("Tanh", [inner], T=dtype)
    half = on.add("Mul", [z, on.number(0.5, dtype)], T=dtype)
    return on.add("Mul", [half, on.add("AddV2", [tanh, on.number(1.0, dtype)], T=dtype)], T=dtype)
