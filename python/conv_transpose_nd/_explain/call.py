"""One transposed convolution with all its lengths: what is planned, measured and shown."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from conv_transpose_nd import _arguments, core

OWN_OP = "ConvTransposeND"
_ITEM_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "int32": 4, "float64": 8}


@dataclasses.dataclass(frozen=True)
class Call:
    """One transposed convolution.

    Attributes:
      name: of the node or layer.
      where: the signature or function that holds it; "" where there is none.
      op: its type: `ConvTransposeND`, or a stock op.
      input_shape: in the order of `data_format`.
      filter_shape: [k..., out_channels / groups, in_channels].
      output_shape: in the order of `data_format`.
      strides: one per spatial axis.
      dilations: one per spatial axis.
      padding: SAME, VALID, SAME_LOWER, or a pair per spatial axis.
      groups: of channels.
      data_format: CHANNELS_LAST or CHANNELS_FIRST.
      dtype: name of the dtype.
      bias: whether one is added.
      activation: as the op names it.
      filter_is_constant: whether the filter is a constant of the graph.
      left_alone: why `accelerate` would not rewrite it; "" if it would, or need not.
    """

    name: str
    where: str
    op: str
    input_shape: list[int]
    filter_shape: list[int]
    output_shape: list[int]
    strides: list[int]
    dilations: list[int]
    padding: str | list[list[int]]
    groups: int = 1
    data_format: str = "CHANNELS_LAST"
    dtype: str = "float32"
    bias: bool = False
    activation: str = "none"
    filter_is_constant: bool = False
    left_alone: str = ""

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.strides)

    @property
    def can_be_rewritten(self) -> bool:
        """Whether `accelerate` would put this op in its place."""
        return self.op != OWN_OP and not self.left_alone

    @property
    def bytes(self) -> int:
        """Every operand read once, the result written once."""
        shapes = self.input_shape, self.filter_shape, self.output_shape
        return sum(map(math.prod, shapes)) * _ITEM_BYTES[self.dtype]

    def arguments(self) -> dict[str, Any]:
        """What `core.geometry` and `core.plan` take beside the shapes of input and filter."""
        return {
            "output_shape": self.output_shape,
            "strides": self.strides,
            "dilations": self.dilations,
            "padding": self.padding
            if isinstance(self.padding, str)
            else [(before, after) for before, after in self.padding],
            "groups": self.groups,
            "data_format": self.data_format,
        }

    def geometry(self) -> dict[str, Any]:
        """Of `core.geometry`."""
        return core.geometry(self.input_shape, self.filter_shape, **self.arguments())

    def plan(self) -> dict[str, Any]:
        """Of `core.plan`."""
        arguments = self.arguments()
        return core.plan(self.input_shape, self.filter_shape, dtype=self.dtype, **arguments)

    def spatial(self, shape: list[int]) -> list[int]:
        """The spatial lengths of an input's or output's shape."""
        return shape[2:] if self.data_format == "CHANNELS_FIRST" else shape[1:-1]

    def channels(self, shape: list[int]) -> int:
        """The channels of an input's or output's shape."""
        return shape[1] if self.data_format == "CHANNELS_FIRST" else shape[-1]

    @classmethod
    def from_arguments(
        cls, input_shape: list[int], filter_shape: list[int], given: dict[str, Any]
    ) -> Call:
        """The call with these shapes, and arguments as `conv_transpose_nd` takes them.

        Raises:
          ValueError: as `core.plan`.
        """
        rank = len(input_shape) - 2
        if not 1 <= rank <= 6:
            raise ValueError(f"the shape of an input must have 3 to 8 values, got {input_shape}")
        forms = [
            given[key]
            for key in ("strides", "padding", "data_format", "dilations", "output_padding")
        ]
        attributes = _arguments.attributes(rank, *forms)
        first = attributes.data_format == "CHANNELS_FIRST"
        spatial = slice(2, None) if first else slice(1, -1)
        pads = attributes.explicit_paddings
        pairs = [list(pair) for pair in zip(pads[::2], pads[1::2], strict=True)]
        call = cls(
            name="conv_transpose",
            where="",
            op=OWN_OP,
            input_shape=input_shape,
            filter_shape=filter_shape,
            output_shape=[],
            strides=attributes.strides[spatial],
            dilations=attributes.dilations[spatial],
            padding=pairs[spatial] if attributes.padding == "EXPLICIT" else attributes.padding,
            groups=given["groups"],
            data_format=attributes.data_format,
            dtype=given["dtype"],
            bias=given["bias"],
            activation=_arguments.canonical_activation(given["activation"]),
            filter_is_constant=given["filter_is_constant"],
        )
        open_lengths = {
            **call.arguments(),
            "output_shape": given["output_shape"],
            "output_padding": attributes.output_padding or None,
        }
        geometry = core.geometry(input_shape, filter_shape, **open_lengths)
        call = dataclasses.replace(call, output_shape=geometry["output_shape"])
        call.plan()  # refuses a dtype that there is not
        return call
