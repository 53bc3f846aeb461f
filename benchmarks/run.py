"""Times this op and its peers on the suite, side by side.

One process per peer stays up; the peers take turns, so that a change of the machine's speed meets
all of them. A result counts only if it equals that of the NumPy module, which the tests hold
against plain loops. Example:

    python -m benchmarks.run --only dcgan64,unet --threads 1,2 --json results.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from benchmarks.workload import OPERATIONS, Workload, load_suite

PEERS = ("op", "core", "tensorflow", "tensorflow_onednn_off", "pytorch")
OURS = ("op", "core")
ORACLE = "core"


class Peer:
    """A worker process."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=pathlib.Path(__file__).parent.parent,
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Sends a command and waits for the answer; a peer that died supports nothing."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(command) + "\n")
            stdin.flush()
        line = stdout.readline()
        return json.loads(line) if line else {"unsupported": "the process ended"}

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()


def measure(
    workload: Workload, operation: str, threads: int, names: list[str], seconds: float
) -> dict[str, Any]:
    """Times of one case, by peer, in interleaved rounds that take about `seconds` per peer."""
    peers = [Peer(name, threads) for name in names]
    try:
        answers = {p.name: p.ask(prepare=workload.name, operation=operation) for p in peers}
        ready = [p for p in peers if "ok" in answers[p.name]]
        rows: dict[str, Any] = {
            p.name: {"unsupported": answers[p.name]["unsupported"]} for p in peers if p not in ready
        }
        errors = differences(ready)
        times: dict[str, list[float]] = {p.name: [] for p in ready}
        slowest = max(min(p.ask(time=2)["seconds"]) for p in ready)
        rounds = max(3, min(30, int(seconds / slowest)))
        for _ in range(rounds):
            for peer in ready:
                times[peer.name] += peer.ask(time=1)["seconds"]
    finally:
        for peer in peers:
            peer.close()
    for name, values in times.items():
        rows[name] = {
            "median_ms": statistics.median(values) * 1e3,
            "min_ms": min(values) * 1e3,
            "gflops": workload.flops / min(values) * 1e-9,
            "max_difference": errors[name],
            "equal": errors[name] <= workload.tolerance(operation),
        }
    return {
        "workload": workload.name,
        "operation": operation,
        "threads": threads,
        "rounds": rounds,
        "tolerance": workload.tolerance(operation),
        "peers": rows,
    }


def differences(peers: list[Peer]) -> dict[str, float]:
    """Largest difference of each peer's result from the oracle's."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = {}
        for peer in peers:
            path = f"{folder}/{peer.name}.npy"
            peer.ask(result=path)
            arrays[peer.name] = np.load(path)
    oracle = arrays.get(ORACLE, next(iter(arrays.values())))
    return {name: float(np.abs(array - oracle).max()) for name, array in arrays.items()}


def ratio(case: dict[str, Any]) -> float | None:
    """Median of the best peer over median of this op; None without both."""
    rows = {n: r["median_ms"] for n, r in case["peers"].items() if r.get("equal")}
    others = [time for name, time in rows.items() if name not in OURS]
    return min(others) / rows["op"] if others and "op" in rows else None


def markdown(cases: list[dict[str, Any]], names: list[str]) -> str:
    """A table of medians in ms; best / op above 1 means that this op is faster."""
    lines = [
        "| workload | operation | threads | " + " | ".join(names) + " | best / op |",
        "|---|---|---|" + "---|" * (len(names) + 1),
    ]
    for case in cases:
        cells = []
        for name in names:
            row = case["peers"].get(name, {})
            wrong = "" if row.get("equal", True) else " (wrong)"
            cells.append(f"{row['median_ms']:.3f}{wrong}" if "median_ms" in row else "-")
        value = ratio(case)
        lines.append(
            f"| {case['workload']} | {case['operation']} | {case['threads']} | "
            + " | ".join(cells)
            + f" | {'-' if value is None else f'{value:.2f}'} |"
        )
    ratios = [value for value in map(ratio, cases) if value is not None]
    if ratios:
        mean = statistics.geometric_mean(ratios)
        lines.append(f"\nGeometric mean of best / op over {len(ratios)} cases: {mean:.2f}")
    return "\n".join(lines)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default="", help="parts of workload names, comma-separated")
    parser.add_argument("--operations", default="forward", help=", ".join(OPERATIONS))
    parser.add_argument("--threads", default="1", help="numbers of threads, comma-separated")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--seconds", type=float, default=0.5, help="per peer and case")
    parser.add_argument("--json", type=pathlib.Path, help="where to write all figures")
    arguments = parser.parse_args()
    names = arguments.peers.split(",")
    cases = []
    for workload in load_suite(arguments.only):
        for operation in arguments.operations.split(","):
            for threads in map(int, arguments.threads.split(",")):
                case = measure(workload, operation, threads, names, arguments.seconds)
                cases.append(case)
                print(f"{workload.name} {operation} {threads}: {ratio(case)}", file=sys.stderr)
    print(markdown(cases, names))
    if arguments.json:
        arguments.json.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")
    wrong = [c for c in cases if any(r.get("equal") is False for r in c["peers"].values())]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
