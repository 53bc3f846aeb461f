"""Measures one case: all peers prepared, compared, and timed in turns."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import tempfile
from typing import Any

import numpy as np

from benchmarks.machine import Machine
from benchmarks.peers import ORACLE, OURS
from benchmarks.process import START_SECONDS, Peer
from benchmarks.workload import Case, Workload


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long to measure."""

    seconds: float = 0.2  # per peer and case, in all turns together
    turns: int = 5
    limit: float = 10.0  # of one call: a peer above it is not called again
    most: int = 300  # calls per turn
    # A peer this many times slower than the fastest gets no third turn.
    far_behind: float = 3.0


def measure(
    case: Case, peers: dict[str, Peer], settings: Settings, machine: Machine
) -> dict[str, Any]:
    """All rows of one case. The peers named in `peers`; the oracle always among them."""
    case.write_operands()
    for peer in peers.values():
        peer.send(prepare=case.to_json())
    answers = {name: peer.receive(START_SECONDS) for name, peer in peers.items()}
    rows: dict[str, Any] = {name: a for name, a in answers.items() if "ok" not in a}
    for name in answers:
        if "first_seconds" in answers[name] and answers[name]["first_seconds"] > settings.limit:
            rows[name] = {"too_slow": f"{answers[name]['first_seconds']:.1f} s for the first call"}
    ready = {name: peers[name] for name in peers if name not in rows}
    errors = differences(case.folder, ready)
    for peer in peers.values():
        peer.stop()
    times = take_turns(ready, settings)
    tolerance = case.workload.tolerance(case.operation, case.dtype)
    for name, values in times.items():
        # Not <=, which would let NaN pass; a result of another shape differs by infinity.
        equal = errors.get(name, np.inf) <= tolerance
        rows[name] = {
            "median_ms": statistics.median(values) * 1e3,
            "min_ms": min(values) * 1e3,
            "calls": len(values),
            "max_difference": float(errors.get(name, np.inf)),
            "equal": bool(equal),
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
        **machine.bound(case),
        "plan": answers.get(ORACLE, {}).get("plan"),
        "peers": {name: rows[name] for name in peers if name in rows},
    }


def take_turns(peers: dict[str, Peer], settings: Settings) -> dict[str, list[float]]:
    """Times by peer. Whoever has the turn runs, all others stand still."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(settings.turns):
        for name, peer in peers.items():
            if turn >= 2 and name not in OURS and _far_behind(name, times, settings):
                continue
            with peer.turn():
                answer = peer.ask(
                    10 * settings.limit + settings.seconds,
                    time=settings.seconds / settings.turns,
                    calls=settings.most,
                )
            times[name] += answer.get("seconds", [])
    return {name: values for name, values in times.items() if values}


def _far_behind(name: str, times: dict[str, list[float]], settings: Settings) -> bool:
    fastest = min(min(values) for values in times.values() if values)
    return not times[name] or min(times[name]) > settings.far_behind * fastest


def differences(folder: pathlib.Path, peers: dict[str, Peer]) -> dict[str, float]:
    """Largest difference of each peer's result from the oracle's; infinity where shapes differ."""
    arrays: dict[str, np.ndarray] = {}
    for name, peer in peers.items():
        peer.send(result=str(folder / f"{name}.npy"))
    for name, peer in peers.items():
        if "ok" in peer.receive(START_SECONDS):
            arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    result = {name: difference(array, arrays.get(ORACLE)) for name, array in arrays.items()}
    for name in arrays:
        (folder / f"{name}.npy").unlink()
    return result


def difference(array: np.ndarray, oracle: np.ndarray | None) -> float:
    """The largest absolute difference; infinity where it is no number, or there is nothing."""
    if oracle is None or array.shape != oracle.shape:
        return float("inf")
    largest = 0.0
    # In parts: a whole difference of large arrays would need as much memory again.
    flat, expected = array.reshape(-1), oracle.reshape(-1)
    for start in range(0, flat.size, 1 << 22):
        part = np.abs(flat[start : start + (1 << 22)] - expected[start : start + (1 << 22)])
        if not np.isfinite(part).all():
            return float("inf")
        largest = max(largest, float(part.max()))
    return largest


def operand_folder() -> tempfile.TemporaryDirectory[str]:
    """Where operands and results lie: in memory if the system has a place for that."""
    memory = pathlib.Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)


def make_case(workload: Workload, operation: str, dtype: str, threads: int, folder: str) -> Case:
    """A case whose operands will lie in `folder`."""
    return Case(workload, operation, dtype, threads, pathlib.Path(folder))
