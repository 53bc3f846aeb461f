"""The workloads of suite.json, and the arrays that every peer gets."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib

import numpy as np

SUITE = pathlib.Path(__file__).with_name("suite.json")
OPERATIONS = ("forward", "input_grad", "filter_grad")


@dataclasses.dataclass(frozen=True)
class Workload:
    """One transposed convolution of a published model; see suite.json."""

    name: str
    batch: int
    in_spatial: list[int]
    out_spatial: list[int]
    in_channels: int
    out_channels: int
    filter_spatial: list[int]
    strides: list[int]
    dilations: list[int]
    padding: str
    pads: list[list[int]]
    groups: int
    flops: int
    bytes_min: int
    source: str = ""

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.in_spatial)

    @property
    def input_shape(self) -> list[int]:
        """Channels last."""
        return [self.batch, *self.in_spatial, self.in_channels]

    @property
    def filter_shape(self) -> list[int]:
        """As TensorFlow has it: [k..., out_channels / groups, in_channels]."""
        return [*self.filter_spatial, self.out_channels // self.groups, self.in_channels]

    @property
    def output_shape(self) -> list[int]:
        """Channels last."""
        return [self.batch, *self.out_spatial, self.out_channels]

    def operands(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Input, filter and output_grad: the same values in every process."""
        random = np.random.default_rng(0)
        shapes = self.input_shape, self.filter_shape, self.output_shape
        x, w, dy = (random.standard_normal(s, dtype=np.float32) for s in shapes)
        return x, w, dy

    def tolerance(self, operation: str) -> float:
        """Bound on the difference of two float32 results: 16 * eps * sqrt(terms) * terms' size.

        The operands are standard normal, so the terms of a sum have size 1 and add up like a
        random walk; the largest of 10^8 results lies within 6 standard deviations.
        """
        taps = math.prod(self.filter_spatial)
        terms = {
            "forward": taps * self.in_channels // self.groups,
            "input_grad": taps * self.out_channels // self.groups,
            "filter_grad": self.batch * math.prod(self.in_spatial),
        }[operation]
        return 16 * 6 * float(np.finfo(np.float32).eps) * math.sqrt(terms)


def load_suite(pattern: str = "") -> list[Workload]:
    """The workloads whose name contains one of the comma-separated parts of `pattern`."""
    rows = json.loads(SUITE.read_text(encoding="utf-8"))["workloads"]
    parts = [part for part in pattern.split(",") if part]
    return [Workload(**r) for r in rows if not parts or any(part in r["name"] for part in parts)]
