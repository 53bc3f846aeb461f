"""Measures one case: all peers prepared, compared, and timed in turns."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import statistics
import tempfile
import time
from typing import Any

from benchmarks.peers import ORACLE, OURS
from benchmarks.process import START_SECONDS, Peer
from benchmarks.workload import Case
from conv_transpose_nd._machine import Machine


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long to measure."""

    seconds: float = 0.2  # per peer and case, in all turns together
    turns: int = 5
    limit: float = 60.0  # to prepare and to call once, beside all others that do so
    most: int = 300  # calls per turn
    # A peer this many times slower than the fastest gets no second turn, and no third one.
    far_behind: tuple[float, float] = (10.0, 3.0)


def measure(
    case: Case, peers: dict[str, Peer], settings: Settings, machine: Machine
) -> dict[str, Any]:
    """All rows of one case. The peers named in `peers`; the oracle always among them."""
    clock = [time.monotonic()]
    case.write_operands()
    for peer in peers.values():
        peer.send(prepare=case.to_json())
    answers = {}
    for name, peer in peers.items():
        answers[name] = peer.receive(START_SECONDS if name in OURS else settings.limit)
    rows: dict[str, Any] = {name: a for name, a in answers.items() if "ok" not in a}
    clock.append(time.monotonic())
    errors = differences(case.folder, {n: p for n, p in peers.items() if n not in rows})
    rows |= {name: a for name, a in errors.items() if "difference" not in a}
    for peer in peers.values():
        peer.stop()
    clock.append(time.monotonic())
    times, failed = take_turns({n: p for n, p in peers.items() if n not in rows}, settings)
    rows |= failed
    clock.append(time.monotonic())
    tolerance = case.workload.tolerance(case.operation, case.dtype)
    for name, values in times.items():
        difference = errors[name]["difference"]
        rows[name] = {
            "median_ms": statistics.median(values) * 1e3,
            "min_ms": min(values) * 1e3,
            "calls": len(values),
            "max_difference": difference,
            "equal": difference is not None and difference <= tolerance,
            "peak_bytes": answers[name]["peak_bytes"],
        }
    return {
        "workload": case.workload.name,
        "operation": case.operation,
        "dtype": case.dtype,
        "threads": case.threads,
        "flops": case.workload.flops,
        "bytes": case.bytes_min,
        "tolerance": tolerance,
        **machine.bound(case.workload.flops, case.bytes_min, case.dtype),
        # What the case took: preparing, comparing, taking turns.
        "wall_seconds": [round(b - a, 2) for a, b in itertools.pairwise(clock)],
        "plan": answers.get(ORACLE, {}).get("plan"),
        "dispatch_ms": answers.get("op", {}).get("dispatch_ms"),
        "peers": {name: rows[name] for name in peers if name in rows},
    }


def take_turns(
    peers: dict[str, Peer], settings: Settings
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Times by peer, and the rows of those that failed on the way.

    Whoever has the turn runs, all others stand still.
    """
    times: dict[str, list[float]] = {name: [] for name in peers}
    failed: dict[str, Any] = {}
    for turn in range(settings.turns):
        for name, peer in peers.items():
            if name in failed or (turn and _far_behind(name, turn, times, settings)):
                continue
            with peer.turn():
                answer = peer.ask(
                    START_SECONDS,
                    time=settings.seconds / settings.turns,
                    calls=settings.most,
                )
            if "seconds" in answer:
                times[name] += answer["seconds"]
            else:
                failed[name] = answer
    return {name: values for name, values in times.items() if name not in failed}, failed


def _far_behind(name: str, turn: int, times: dict[str, list[float]], settings: Settings) -> bool:
    if name in OURS:
        return False
    fastest = min(min(values) for values in times.values() if values)
    return min(times[name]) > settings.far_behind[min(turn, 2) - 1] * fastest


def differences(folder: pathlib.Path, peers: dict[str, Peer]) -> dict[str, Any]:
    """By peer {"difference": largest one from the oracle's result}, None if there is no number."""
    path = str(folder / "result.npy")
    if ORACLE in peers:
        peers[ORACLE].ask(START_SECONDS, result=path)
    for peer in peers.values():
        peer.send(compare=path)
    return {name: peer.receive(START_SECONDS) for name, peer in peers.items()}


def operand_folder() -> tempfile.TemporaryDirectory[str]:
    """Where operands and results lie: in memory if the system has a place for that."""
    memory = pathlib.Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
