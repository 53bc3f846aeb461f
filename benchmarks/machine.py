"""What the machine can do, measured by a small program that is compiled where it is needed."""

from __future__ import annotations

import bisect
import dataclasses
import json
import math
import os
import pathlib
import platform
import shutil
import subprocess
from typing import Any

from benchmarks.peers import FOLDER
from benchmarks.workload import Case

SOURCE = pathlib.Path(__file__).with_suffix(".cc")


@dataclasses.dataclass(frozen=True)
class Machine:
    """Limits for a number of threads; none where there is no compiler."""

    gflops: dict[str, float] = dataclasses.field(default_factory=dict)  # by dtype
    copy: list[list[float]] = dataclasses.field(default_factory=list)  # [bytes, GB/s], rising
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

    def bound(self, case: Case) -> dict[str, Any]:
        """The time that the case takes at least, unless it multiplies less, and why."""
        if not self.gflops or not self.copy:
            return {"bound_ms": None, "bound_by": None}
        multiply = case.workload.flops / self.gflops[case.dtype] * 1e-6
        move = case.bytes_min / self.gbytes(case.bytes_min) * 1e-6
        by = "multiply-adds" if multiply >= move else "memory"
        return {"bound_ms": max(multiply, move), "bound_by": by}


def measure_machine(threads: int) -> Machine:
    """Compiles the program if need be, and runs it."""
    program = _program()
    if program is None:
        return Machine()
    text = subprocess.run(
        [str(program), str(threads)], capture_output=True, text=True, check=True
    ).stdout
    return Machine(**json.loads(text))


def _program() -> pathlib.Path | None:
    compiler = next(
        filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None
    )
    if compiler is None:
        return None
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = FOLDER / "machine"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        command = [compiler, "-O2", "-std=c++17", "-pthread", str(SOURCE), "-o", str(program)]
        subprocess.run(command, check=True)
    return program


def describe() -> dict[str, Any]:
    """The processor, as the results name it."""
    facts = {"cpus": len(os.sched_getaffinity(0)), "system": platform.platform(terse=True)}
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
