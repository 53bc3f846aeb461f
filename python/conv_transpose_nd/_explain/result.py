"""What `explain` found: per transposed convolution, and in total."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from conv_transpose_nd._explain.call import OWN_OP, Call
from conv_transpose_nd._machine import Machine
from conv_transpose_nd.saved_model import Timing


@dataclasses.dataclass(frozen=True)
class Times:
    """Medians of interleaved calls, in milliseconds.

    Attributes:
      ours_ms: with this op.
      stock_ms: with stock TensorFlow; None where that cannot do it.
      stock_note: why there is no `stock_ms`, or what is wrong with it; else "".
    """

    ours_ms: float
    stock_ms: float | None
    stock_note: str = ""


@dataclasses.dataclass(frozen=True)
class Explained:
    """One transposed convolution.

    Attributes:
      call: what is computed.
      geometry: as `core.geometry` gives it.
      plan: as `core.plan` gives it, with the reason.
      bound_ms: the time that the machine needs at least; None for a dtype without a peak.
      bound_by: "multiply-adds" or "memory"; None where `bound_ms` is.
      times: None if nothing was measured.
    """

    call: Call
    geometry: dict[str, Any]
    plan: dict[str, Any]
    bound_ms: float | None
    bound_by: str | None
    times: Times | None

    @property
    def flops(self) -> int:
        """Two per multiply-add of the definition, counting only taps that land inside."""
        return int(2 * self.plan["multiply_adds"])

    @property
    def stock_over_ours(self) -> float | None:
        """How many times as fast as stock TensorFlow this op is."""
        if self.times is None or self.times.stock_ms is None:
            return None
        return self.times.stock_ms / self.times.ours_ms

    @property
    def reason(self) -> str:
        """Why this plan: the estimates of the families that can run the call."""
        return str(self.plan["reason"])

    def verdict(self) -> str:
        """What `accelerate` would do with it."""
        if self.call.left_alone:
            return f"left alone: {self.call.left_alone}"
        return "is this op" if self.call.op == OWN_OP else "would become this op"

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        call, plan, times = self.call, self.plan, self.times
        found = dataclasses.asdict(call)
        found["pad_before"] = self.geometry["pad_before"]
        found["pad_after"] = self.geometry["pad_after"]
        found |= {key: plan[key] for key in ("family", "phases", "packed_bytes")}
        found["reason"] = self.reason
        found["flops"] = self.flops
        found["bytes"] = call.bytes
        found["flop_per_byte"] = self.flops / call.bytes if call.bytes else None
        found["bound_ms"] = self.bound_ms
        found["bound_by"] = self.bound_by
        found["ours_ms"] = times.ours_ms if times else None
        found["stock_ms"] = times.stock_ms if times else None
        found["stock_note"] = times.stock_note if times else "not measured"
        found["stock_over_ours"] = self.stock_over_ours
        share = self.bound_ms / times.ours_ms if times and self.bound_ms is not None else None
        found["bound_over_ours"] = share
        found["accelerate"] = self.verdict()
        return found


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `ct.explain` returns. Prints as a table.

    Attributes:
      target: what was explained, as text.
      convolutions: every transposed convolution that was found, in the order of the graph.
      machine: what this machine can do at most.
      device: the processor, with its instruction sets.
      threads: that the measured calls may use.
      instruction_set: that the kernels use.
      signatures: whole signatures and functions before and after `accelerate`, measured.
      notes: what could not be examined, and why.
    """

    target: str
    convolutions: tuple[Explained, ...]
    machine: Machine
    device: dict[str, Any]
    threads: int
    instruction_set: str
    signatures: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()

    def total(self) -> dict[str, Any]:
        """What `accelerate` would gain: sums over the convolutions that it would rewrite.

        Returns:
          "rewritable", how many those are; "stock_ms" and "ours_ms", their times now and then;
          "saved_ms", the difference; "stock_over_ours", the ratio. The times are None where nothing
          was measured, or where there is nothing to rewrite.
        """
        times = [one.times for one in self.convolutions if one.call.can_be_rewritten]
        pairs = [(t.stock_ms, t.ours_ms) for t in times if t is not None and t.stock_ms is not None]
        if not pairs or len(pairs) < len(times):
            return {
                "rewritable": len(times),
                **dict.fromkeys(("stock_ms", "ours_ms", "saved_ms", "stock_over_ours")),
            }
        stock, ours = (sum(column) for column in zip(*pairs, strict=True))
        return {
            "rewritable": len(times),
            "stock_ms": stock,
            "ours_ms": ours,
            "saved_ms": stock - ours,
            "stock_over_ours": stock / ours,
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        return {
            "target": self.target,
            "device": self.device,
            "threads": self.threads,
            "instruction_set": self.instruction_set,
            "machine": dataclasses.asdict(self.machine),
            "convolutions": [one.to_dict() for one in self.convolutions],
            "total": self.total(),
            "signatures": [
                {
                    "name": one.name,
                    "shapes": one.shapes,
                    "before_ms": one.before_s * 1e3,
                    "after_ms": one.after_s * 1e3,
                }
                for one in self.signatures
            ],
            "notes": list(self.notes),
        }

    def to_html(self) -> str:
        """One page without references to anything outside: numbers, a roofline, phase diagrams."""
        from conv_transpose_nd._explain import page

        return page.page(self)

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_html()` to a file."""
        pathlib.Path(path).write_text(self.to_html(), encoding="utf-8")

    def show(self) -> None:
        """Prints the table: with rich if it is installed, plain if not."""
        from conv_transpose_nd._explain import text

        text.show(self)

    def __str__(self) -> str:
        from conv_transpose_nd._explain import text

        return text.plain(self)
