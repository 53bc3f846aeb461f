"""The workloads of suite.json, and the arrays that every peer gets."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np

SUITE = pathlib.Path(__file__).with_name("suite.json")
OPERATIONS = ("forward", "input_grad", "filter_grad")
DTYPES = ("float32", "bfloat16", "float16", "float64")
# The distance of 1 to the next number.
EPSILON = {"float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10, "float64": 2.0**-52}
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}


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

    @property
    def is_wide(self) -> bool:
        """Many channels on both sides: where the multiply-adds bound the time."""
        return self.groups == 1 and min(self.in_channels, self.out_channels) >= 64

    def end_pads(self) -> list[int]:
        """Per axis (n - 1) * stride + k_d - pad_before - out; below 0 it is -output_padding."""
        sizes = zip(
            self.in_spatial,
            self.out_spatial,
            self.filter_spatial,
            self.strides,
            self.dilations,
            self.pads,
            strict=True,
        )
        return [(n - 1) * s + (k - 1) * d + 1 - pad[0] - out for n, out, k, s, d, pad in sizes]

    def tolerance(self, operation: str, dtype: str = "float32") -> float:
        """Bound on the difference of two results: eps * (2 * terms + 96 * sqrt(terms)).

        The operands are standard normal, so the terms of a sum have size 1 and partial sums grow
        like a random walk. Added one by one, each step rounds a sum of size sqrt(i) by at most half
        an eps of it: together 0.2 * eps * terms, one standard deviation. The largest of 10^8
        results lies within 6 of them, the difference of two within 6 * sqrt(2): 2 * eps * terms.
        Sums of blocks, and those in a transformed domain, round values of the result's size, a few
        times: 16 * eps * 6 * sqrt(terms). Of a 16-bit dtype the sums are formed in float32, and
        what counts is that both results are rounded, and once more by a library that adds two
        partial sums: 4 * eps * 6 * sqrt(terms).
        """
        taps = math.prod(self.filter_spatial)
        terms = {
            "forward": taps * self.in_channels // self.groups,
            "input_grad": taps * self.out_channels // self.groups,
            "filter_grad": self.batch * math.prod(self.in_spatial),
        }[operation]
        if ITEM_BYTES[dtype] == 2:
            return 4 * 6 * EPSILON[dtype] * math.sqrt(terms)
        return EPSILON[dtype] * (2 * terms + 16 * 6 * math.sqrt(terms))


@dataclasses.dataclass(frozen=True)
class Case:
    """What a peer is asked to compute; `folder` holds the operands."""

    workload: Workload
    operation: str
    dtype: str
    threads: int
    folder: pathlib.Path

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells cases of one run apart."""
        return self.workload.name, self.operation, self.dtype, self.threads

    @property
    def bytes_min(self) -> int:
        """Every operand read once, the result written once; the same for the three operations."""
        return self.workload.bytes_min * ITEM_BYTES[self.dtype] // 4

    @property
    def numpy_dtype(self) -> Any:
        """For NumPy; bfloat16 is that of ml_dtypes."""
        if self.dtype != "bfloat16":
            return np.dtype(self.dtype)
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)

    def write_operands(self) -> None:
        """Writes the operands, standard normal, for every process to read."""
        random = np.random.default_rng(0)
        wide = np.float64 if self.dtype == "float64" else np.float32
        shapes = self.workload.input_shape, self.workload.filter_shape, self.workload.output_shape
        for name, shape in zip(("input", "filter", "output_grad"), shapes, strict=True):
            if name != _NOT_READ[self.operation]:
                np.save(self.folder / f"{name}.npy", random.standard_normal(shape, dtype=wide))

    def operand(self, name: str) -> np.ndarray:
        """One of input, filter, output_grad, in the case's dtype."""
        return np.load(self.folder / f"{name}.npy").astype(self.numpy_dtype)

    def to_json(self) -> dict[str, Any]:
        """For from_json in another process."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}


# The operand that an operation does without. A peer may read only the others.
_NOT_READ = {"forward": "output_grad", "input_grad": "input", "filter_grad": "filter"}


def case_from_json(value: dict[str, Any]) -> Case:
    """The case that to_json wrote."""
    fields = value | {
        "workload": Workload(**value["workload"]),
        "folder": pathlib.Path(value["folder"]),
    }
    return Case(**fields)


def load_suite(pattern: str = "") -> list[Workload]:
    """The workloads whose name contains one of the comma-separated parts of `pattern`."""
    rows = json.loads(SUITE.read_text(encoding="utf-8"))["workloads"]
    parts = [part for part in pattern.split(",") if part]
    return [Workload(**r) for r in rows if not parts or any(part in r["name"] for part in parts)]
