"""Does the time per multiply-add stay flat when a size grows a thousandfold?"""

from __future__ import annotations

import math
import pathlib
import statistics
from typing import Any

from benchmarks.measure import Settings, operand_folder
from benchmarks.process import START_SECONDS, Peer
from benchmarks.workload import Case, Workload
from conv_transpose_nd._machine import Machine

FACTORS = (1, 10, 100, 1000)
# The last rule of the goal: within 15 %.
FLAT = 1.15


def workloads() -> list[tuple[str, int, Workload]]:
    """(what grows, how many times, workload); filter 4x4, stride 2, as generators have it."""
    rows = []
    for factor in FACTORS:
        side = round(16 * math.sqrt(factor))
        rows += [
            ("batch", factor, _workload(factor, 16, 64, 32)),
            ("pixels", factor, _workload(1, side, 64, 32)),
            ("in_channels", factor, _workload(1, 16, 16 * factor, 32)),
            ("out_channels", factor, _workload(1, 16, 32, 16 * factor)),
        ]
    return sorted(rows, key=lambda row: row[0])


def _workload(batch: int, side: int, in_channels: int, out_channels: int) -> Workload:
    pixels = batch * side * side
    elements = pixels * in_channels + 16 * in_channels * out_channels + 4 * pixels * out_channels
    return Workload(
        name=f"{batch}x{side}x{side}x{in_channels}to{out_channels}",
        batch=batch,
        in_spatial=[side, side],
        out_spatial=[2 * side, 2 * side],
        in_channels=in_channels,
        out_channels=out_channels,
        filter_spatial=[4, 4],
        strides=[2, 2],
        dilations=[1, 1],
        padding="SAME",
        pads=[[1, 1], [1, 1]],
        groups=1,
        # Of 4 taps times side positions per axis, 2 fall off the edges.
        flops=2 * batch * (4 * side - 2) ** 2 * in_channels * out_channels,
        bytes_min=4 * elements,
    )


def measure(peer: Peer, threads: int, settings: Settings, machine: Machine) -> list[dict[str, Any]]:
    """One row per size. The sizes take turns, as the peers of a case do."""
    rows = []
    for axis, factor, workload in workloads():
        with operand_folder() as folder:
            case = Case(workload, "forward", "float32", threads, pathlib.Path(folder))
            case.write_operands()
            answer = peer.ask(START_SECONDS, prepare=case.to_json())
            if "ok" not in answer:
                raise RuntimeError(f"{workload.name}: {answer}")
            times = peer.ask(
                START_SECONDS, time=2 * settings.seconds, calls=settings.turns * settings.most
            )["seconds"]
        plan = answer["plan"]
        bound = machine.bound(case.workload.flops, case.bytes_min, case.dtype)
        rows.append(
            {
                "grows": axis,
                "factor": factor,
                "workload": workload.name,
                "threads": threads,
                "median_ms": statistics.median(times) * 1e3,
                "min_ms": min(times) * 1e3,
                "ps_per_multiply_add": min(times) * 2e12 / workload.flops,
                "family": plan["family"],
                "workspace_bytes": plan["workspace_bytes"],
                "packed_bytes": plan.get("packed_bytes"),
                "peak_bytes": answer["peak_bytes"],
                "result_bytes": 4 * math.prod(workload.output_shape),
                **bound,
            }
        )
    return rows


def growth(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], float]]:
    """Each row, and its time per multiply-add over that of the ungrown size."""
    first = {(r["grows"], r["threads"]): r["ps_per_multiply_add"] for r in rows if r["factor"] == 1}
    return [(row, row["ps_per_multiply_add"] / first[row["grows"], row["threads"]]) for row in rows]


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """A table, and what breaks the rule."""
    lines = [
        "## Scaling",
        "",
        "`core`, forward, float32, 4x4 stride 2. `growth` is the time per multiply-add over that",
        f"of the ungrown size; the goal is at most {FLAT}.",
        "",
        "| grows | times | threads | kernel | ms | ps per multiply-add | growth | workspace MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    above = []
    for row, value in growth(rows):
        lines.append(
            f"| {row['grows']} | {row['factor']} | {row['threads']} | {row['family']} | "
            f"{row['min_ms']:.3f} | {row['ps_per_multiply_add']:.2f} | {value:.2f} | "
            f"{row['workspace_bytes'] / 2**20:.1f} |"
        )
        if value > FLAT:
            above.append(
                f"{row['grows']} x {row['factor']} ({row['threads']} threads): {value:.2f}"
            )
    lines += ["", f"Above {FLAT}: {'; '.join(above) or 'none'}.", ""]
    return lines
