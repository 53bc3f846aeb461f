"""What the machine can do at most, and what bounds a call on it."""

from __future__ import annotations

import bisect
import dataclasses
import math
import os
import pathlib
import platform
from typing import Any


@dataclasses.dataclass(frozen=True)
class Machine:
    """Limits for a number of threads, as `core.machine` measures them.

    Attributes:
      gflops: multiply-adds, each two operations, by dtype; in 10^9 per second.
      copy: pairs of bytes and GB/s, by rising size; read and written bytes both count.
      isa: the instruction set that reached `gflops`, by dtype.
    """

    gflops: dict[str, float] = dataclasses.field(default_factory=dict)
    copy: list[list[float]] = dataclasses.field(default_factory=list)
    isa: dict[str, str] = dataclasses.field(default_factory=dict)

    def gbytes(self, size: int) -> float:
        """GB/s of a copy that moves `size` bytes in all: of the cache that holds them."""
        sizes = [point[0] for point in self.copy]
        index = bisect.bisect_left(sizes, size)
        if index in (0, len(sizes)):
            return self.copy[min(index, len(sizes) - 1)][1]
        (low, slow), (high, fast) = self.copy[index - 1 : index + 1]
        share = math.log(size / low) / math.log(high / low)
        return slow + share * (fast - slow)

    def bound(self, flops: int, size: int, dtype: str) -> dict[str, Any]:
        """The time that a call takes at least, unless it multiplies less, and why.

        Args:
          flops: of the call, two per multiply-add.
          size: bytes of its operands and its result.
          dtype: name of their dtype.

        Returns:
          "bound_ms", the larger of flops / peak and size / copy bandwidth, and "bound_by", which of
          the two; both None for a dtype without a measured peak.
        """
        if dtype not in self.gflops or not self.copy:
            return {"bound_ms": None, "bound_by": None}
        multiply = flops / self.gflops[dtype] * 1e-6
        move = size / self.gbytes(size) * 1e-6
        by = "multiply-adds" if multiply >= move else "memory"
        return {"bound_ms": max(multiply, move), "bound_by": by}


def measure_machine(threads: int) -> Machine:
    """Measures for about a second, with this many threads (at least 1)."""
    from conv_transpose_nd import core

    found = core.machine(threads)
    gflops = {dtype: round(rate, 1) for dtype, rate in found["gflops"].items()}
    return Machine(gflops, [[size, round(rate, 1)] for size, rate in found["copy"]], found["isa"])


def describe() -> dict[str, Any]:
    """The processor, as results name it."""
    facts: dict[str, Any] = {
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.platform(terse=True),
    }
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        pairs = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs.items()}
        facts["cpu"] = fields.get("model name", platform.machine())
        flags = fields.get("flags", "").split()
        wanted = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")
        facts["extensions"] = [flag for flag in wanted if flag in flags]
    return facts
