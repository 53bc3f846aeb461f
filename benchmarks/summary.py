"""What the figures say about the goals: who is faster, by how much, and how near to the machine."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.peers import OURS, TENSORFLOW
from benchmarks.process import DIED
from benchmarks.workload import load_suite

Json = dict[str, Any]
# Where an empty call of TensorFlow takes more than this share of the op's time, what is compared is
# that call: NumPy arrays are compared instead, without TensorFlow.
TINY_SHARE = 0.25
# The op's own share of memory, beside the packed filter: 4 MB per thread.
WORKSPACE_BYTES_PER_THREAD = 4 << 20


def times(case: Json, statistic: str = "median_ms") -> dict[str, float]:
    """Milliseconds by peer, of the results that count."""
    return {n: row[statistic] for n, row in case["peers"].items() if row.get("equal")}


def best(case: Json, names: Iterable[str] | None = None, statistic: str = "median_ms") -> Any:
    """(name, ms) of the fastest of the peers, our own left out; None if there is none."""
    found = times(case, statistic)
    chosen = [n for n in found if n not in OURS and (names is None or n in names)]
    return min(((n, found[n]) for n in chosen), key=lambda pair: pair[1], default=None)


def is_tiny(case: Json) -> bool:
    """True where TensorFlow's dispatch is more than a part of the op's time."""
    own = times(case).get("op")
    return own is not None and (case.get("dispatch_ms") or 0) > TINY_SHARE * own


def ours(case: Json) -> str:
    """Our row for comparisons with all peers; no filter gradient has a constant filter."""
    variable = case["operation"] == "filter_grad"
    if is_tiny(case):
        return "core" if variable else "core_constant"
    return "op" if variable else "op_constant"


def against_tensorflow(
    case: Json, statistic: str = "median_ms", at_bound: bool = False
) -> float | None:
    """Time of the best of TensorFlow's paths over the op's, the filter an argument of both."""
    return _ratio(case, "op", TENSORFLOW, statistic, at_bound)


def against_all(case: Json, statistic: str = "median_ms", at_bound: bool = False) -> float | None:
    """Time of the best peer over ours, each with a constant filter if it can have one."""
    name = ours(case) if ours(case) in times(case) else "op"
    return _ratio(case, name, None, statistic, at_bound)


def _ratio(
    case: Json, own: str, names: Iterable[str] | None, statistic: str, at_bound: bool
) -> float | None:
    """at_bound: as if ours took no longer than the machine's bound and an empty call."""
    found, other = times(case, statistic), best(case, names, statistic)
    if own not in found or not other:
        return None
    least = case["bound_ms"] + (case.get("dispatch_ms") or 0 if own.startswith("op") else 0)
    return other[1] / (min(found[own], least) if at_bound else found[own])


def share_of_machine(case: Json, statistic: str = "median_ms") -> float | None:
    """The bound over our time: above 1 where fewer multiplications are made."""
    found = times(case, statistic)
    own = [found[n] for n in (ours(case), "op", "core") if n in found]
    return case["bound_ms"] / own[0] if own and case["bound_ms"] else None


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the summary."""

    title: str
    ratios: dict[str, float]  # by workload
    each: float | None  # what every workload should reach
    mean: float | None  # what the geometric mean should reach
    # The geometric mean, if no call took longer than the machine's bound and an empty call.
    at_bound: float | None = None

    @property
    def geometric_mean(self) -> float:
        """Of all ratios."""
        return statistics.geometric_mean(self.ratios.values())

    def below(self) -> list[tuple[str, float]]:
        """The workloads that do not reach `each`, worst first."""
        if self.each is None:
            return []
        found = [(name, value) for name, value in self.ratios.items() if value < self.each]
        return sorted(found, key=lambda pair: pair[1])


def lines(cases: list[Json], statistic: str = "median_ms") -> list[Line]:
    """All lines that the cases have figures for."""
    found = []
    for threads in sorted({case["threads"] for case in cases}):
        of_threads = [case for case in cases if case["threads"] == threads]
        for title, operation, ratio, each, mean in _GOALS:
            chosen = _select(of_threads, operation, "float32")
            values = {c["workload"]: ratio(c, statistic) for c in chosen}
            ratios = {name: value for name, value in values.items() if value is not None}
            if ratios:
                at_bound = _mean_at_bound(chosen, ratio, statistic)
                found.append(Line(f"{title}, {_count(threads)}", ratios, each, mean, at_bound))
        found += _dtype_lines(of_threads, threads, statistic)
    return found + _speed_up_lines(cases, statistic)


def _mean_at_bound(cases: list[Json], ratio: _Ratio, statistic: str) -> float | None:
    if ratio is share_of_machine:
        return None
    found = [ratio(case, statistic, True) for case in cases]
    return statistics.geometric_mean([value for value in found if value is not None])


_Ratio = Callable[..., "float | None"]
_GOALS: tuple[tuple[str, str, _Ratio, float | None, float | None], ...] = (
    ("best of TensorFlow / op, forward, filter as argument", "forward", against_tensorflow, 1, 2.5),
    ("best of all peers / op, forward, constant filter", "forward", against_all, 1, 1.5),
    ("best of all peers / op, input gradient, constant filter", "input_grad", against_all, 1, 1.2),
    ("best of all peers / op, filter gradient", "filter_grad", against_all, 1, 1.6),
    ("best of TensorFlow / op, input gradient", "input_grad", against_tensorflow, 1, None),
    ("best of TensorFlow / op, filter gradient", "filter_grad", against_tensorflow, 1, None),
    ("bound of the machine / op, forward", "forward", share_of_machine, 0.6, 0.9),
)
_DTYPES = {"bfloat16": 1.7, "float16": 0.9, "float64": 0.48}


def _select(cases: list[Json], operation: str, dtype: str) -> list[Json]:
    return [c for c in cases if c["operation"] == operation and c["dtype"] == dtype]


def _dtype_lines(cases: list[Json], threads: int, statistic: str) -> list[Line]:
    """Our float32 time over that of another dtype, where the channels are wide."""
    wide = {workload.name for workload in load_suite() if workload.is_wide}
    reference = {c["workload"]: c for c in _select(cases, "forward", "float32")}
    found = []
    for dtype, goal in _DTYPES.items():
        ratios = {}
        for case in _select(cases, "forward", dtype):
            base = reference.get(case["workload"])
            if base is None or case["workload"] not in wide:
                continue
            for own in OURS:
                if own in times(case) and own in times(base):
                    ratios[case["workload"]] = (
                        times(base, statistic)[own] / times(case, statistic)[own]
                    )
                    break
        if ratios:
            title = f"own float32 / {dtype}, wide channels, {_count(threads)}"
            found.append(Line(title, ratios, goal, None))
    return found


def _speed_up_lines(cases: list[Json], statistic: str) -> list[Line]:
    """1 thread over 2, where the call takes over 1 ms and memory does not bound it."""
    found = []
    for operation in ("forward", "input_grad", "filter_grad"):
        chosen = _select(cases, operation, "float32")
        two = {c["workload"]: c for c in chosen if c["threads"] == 2}
        ratios = {}
        for case in chosen:
            other = two.get(case["workload"])
            if case["threads"] != 1 or other is None or case["bound_by"] == "memory":
                continue
            own = times(case, statistic).get("op"), times(other, statistic).get("op")
            if own[0] and own[1] and own[0] > 1.0:
                ratios[case["workload"]] = own[0] / own[1]
        if ratios:
            found.append(Line(f"1 thread / 2 threads, {operation}, over 1 ms", ratios, 1.8, None))
    return found


def _count(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def workspace_above(case: Json) -> int | None:
    """Bytes beyond the packed filter and 4 MB per thread; None where it is not known."""
    plan = case.get("plan") or {}
    if plan.get("packed_bytes") is None:
        return None
    allowed = plan["packed_bytes"] + case["threads"] * WORKSPACE_BYTES_PER_THREAD
    return max(0, plan["workspace_bytes"] - allowed)


def failures(cases: list[Json]) -> list[str]:
    """Results that are wrong, rows of this project without one, and peers that never ran.

    Without a peer that is broken, rather than absent, ratios look better than they are.
    """
    found = []
    for peer in dict.fromkeys(name for case in cases for name in case["peers"]):
        rows = [case["peers"][peer] for case in cases if peer in case["peers"]]
        if all(row.get("unsupported") == DIED for row in rows):
            found.append(f"{peer}: {DIED} in every case")
    for case in cases:
        name = " ".join(str(case[key]) for key in ("workload", "operation", "dtype", "threads"))
        for peer, row in case["peers"].items():
            if row.get("equal") is False:
                found.append(f"{name}: {peer} {_deviation(row, case['tolerance'])}")
            allowed = peer.endswith("_constant") and case["operation"] == "filter_grad"
            if peer in OURS and "equal" not in row and not allowed:
                found.append(f"{name}: {peer} has no result: {next(iter(row.values()), '')}")
    return found


def _deviation(row: Json, tolerance: float) -> str:
    if row["max_difference"] is None:
        return "has another shape, or elements that are no numbers"
    return f"differs by {row['max_difference']:.3g} (at most {tolerance:.3g})"
