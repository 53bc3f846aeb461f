"""The figures as text: a table of all times, and the summary."""

from __future__ import annotations

import pathlib
from typing import Any

from benchmarks import pictures, scaling, summary
from benchmarks.peers import OURS, PEERS
from benchmarks.results import Results

Json = dict[str, Any]


def markdown(figures: Results) -> str:
    """The whole report."""
    lines = ["# Speed", "", *_machine(figures)]
    if figures.cases:
        lines += [*_summary(figures.cases), *_wrong(figures.cases), *_memory(figures.cases)]
        for operation, dtype, threads in _groups(figures.cases):
            chosen = [
                c
                for c in figures.cases
                if (c["operation"], c["dtype"], c["threads"]) == (operation, dtype, threads)
            ]
            lines += [f"## {operation}, {dtype}, {_count(threads)}", "", *table(chosen), ""]
        lines += _missing(figures.cases)
    if figures.scaling:
        lines += scaling.markdown(figures.scaling)
    return "\n".join(lines).rstrip() + "\n"


def write(figures: Results, path: pathlib.Path) -> None:
    """The report and the pictures, beside the figures."""
    path.with_suffix(".md").write_text(markdown(figures), encoding="utf-8")
    for name, text in pictures.draw(figures).items():
        path.with_name(f"{path.stem}_{name}.svg").write_text(text, encoding="utf-8")


def failures(figures: Results) -> list[str]:
    """What makes the run fail."""
    return summary.failures(figures.cases)


def progress(case: Json) -> str:
    """One line for the terminal."""
    values = {
        "TF/op": summary.against_tensorflow(case),
        "best/op": summary.against_all(case),
        "of machine": summary.share_of_machine(case),
    }
    text = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
    wrong = [name for name, row in case["peers"].items() if row.get("equal") is False]
    head = f"{case['workload']} {case['operation']} {case['dtype']} {_count(case['threads'])}"
    return f"{head}: {text}" + (f"; WRONG: {', '.join(wrong)}" if wrong else "")


def _count(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _groups(cases: list[Json]) -> list[tuple[str, str, int]]:
    return list(dict.fromkeys((c["operation"], c["dtype"], c["threads"]) for c in cases))


def _machine(figures: Results) -> list[str]:
    machine = figures.machine
    lines = [
        f"{figures.date}: {machine.get('cpu', 'unknown processor')}, {machine.get('cpus', '?')} "
        f"processors ({', '.join(machine.get('extensions', []))}), {machine.get('system', '')}.",
        "",
    ]
    for threads, limits in figures.limits.items():
        if not limits["gflops"]:
            lines += ["The machine's limits were not measured.", ""]
            continue
        rates = ", ".join(f"{name} {value:.0f}" for name, value in limits["gflops"].items())
        copies = ", ".join(f"{_size(size)} {rate:.0f}" for size, rate in limits["copy"])
        lines += [
            f"{_count(int(threads))}: multiply-adds in GFLOP/s: {rates} (float16 through float32; "
            f"bfloat16: {limits['isa']['bfloat16']}). Copy in GB/s, by bytes moved: {copies}.",
            "",
        ]
    names = [n for n in figures.versions if n not in OURS]
    if names:
        lines += ["| peer | version | layout | filter |", "|---|---|---|---|"]
        for name in names:
            info = PEERS[name]
            kind = "constant" if info.constant else "argument"
            lines.append(f"| {name} | {figures.versions[name]} | {info.layout} | {kind} |")
        lines.append("")
    return lines


def _size(size: float) -> str:
    return f"{size / 2**20:.0f} MB" if size >= 2**20 else f"{size / 2**10:.0f} KB"


def _summary(cases: list[Json]) -> list[str]:
    lines = [
        "## Summary",
        "",
        "Ratios above 1: this op is faster. Medians; minima in brackets. At the bound: the mean,",
        "if no call took longer than the machine's bound and an empty call of TensorFlow.",
        "",
    ]
    lines += [
        "| | workloads | smallest | goal | geometric mean | goal | at the bound | reached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    medians = summary.lines(cases)
    minima = {line.title: line for line in summary.lines(cases, "min_ms")}
    for line in medians:
        fast = minima[line.title]
        reached = not line.below() and (line.mean is None or line.geometric_mean >= line.mean)
        lines.append(
            f"| {line.title} | {len(line.ratios)} | {min(line.ratios.values()):.2f} "
            f"({min(fast.ratios.values()):.2f}) | {_goal(line.each)} | {line.geometric_mean:.2f} "
            f"({fast.geometric_mean:.2f}) | {_goal(line.mean)} | {_bound(line.at_bound)} "
            f"| {'yes' if reached else 'no'} |"
        )
    lines.append("")
    for line in medians:
        if line.below():
            text = ", ".join(f"{name} {value:.2f}" for name, value in line.below())
            lines.append(f"- Below {line.each:g}, {line.title} ({len(line.below())}): {text}")
    return [*lines, ""]


def _goal(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _bound(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _wrong(cases: list[Json]) -> list[str]:
    found = summary.failures(cases)
    if not found:
        return ["All results that count are equal within the tolerance of `workload.py`.", ""]
    return ["## Failures", "", *(f"- {text}" for text in found), ""]


def _memory(cases: list[Json]) -> list[str]:
    """Where the op's workspace is larger than it should be."""
    known = [(c, summary.workspace_above(c)) for c in cases]
    measured = [(c, above) for c, above in known if above is not None]
    if not measured:
        return []
    over = [(c, above) for c, above in measured if above]
    lines = [
        "Workspace: packed filter + 4 MB per thread at most in "
        f"{len(measured) - len(over)} of {len(measured)} cases.",
        "",
    ]
    for case, above in over:
        head = f"{case['workload']} {case['operation']} {case['dtype']}"
        lines.append(f"- {head}, {_count(case['threads'])}: {above / 2**20:.1f} MB more")
    return [*lines, ""]


def table(cases: list[Json]) -> list[str]:
    """One row per workload: medians in ms, then ratios, bound and memory."""
    names = list(dict.fromkeys(name for case in cases for name in case["peers"]))
    heads = ["workload", *names, "best peer", "TF / op", "best / op", "of machine", "bound by"]
    heads += ["kernel", "workspace MB", "peak MB"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for case in cases:
        best = summary.best(case)
        plan = case.get("plan") or {}
        workspace = plan.get("workspace_bytes")
        peak = case["peers"].get("op", case["peers"].get("core", {})).get("peak_bytes")
        cells = [
            case["workload"],
            *(_cell(case["peers"].get(name, {})) for name in names),
            best[0] if best else "-",
            _number(summary.against_tensorflow(case)),
            _number(summary.against_all(case)) + (" (core)" if summary.is_tiny(case) else ""),
            _number(summary.share_of_machine(case)),
            case["bound_by"] or "-",
            plan.get("family", "-"),
            _number(None if workspace is None else workspace / 2**20),
            _number(None if peak is None else peak / 2**20),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(row: Json) -> str:
    if "median_ms" in row:
        return f"{row['median_ms']:.3f}" + ("" if row["equal"] else " (wrong)")
    for word in ("absent", "too_slow", "unsupported"):
        if word in row:
            return {"absent": "absent", "too_slow": "too slow"}.get(word, "-")
    return "-"


def _missing(cases: list[Json]) -> list[str]:
    """Why cells are empty: each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        for name, row in case["peers"].items():
            for word in ("absent", "too_slow", "unsupported"):
                if word in row:
                    key = name, f"{word.replace('_', ' ')}: {row[word]}"
                    reasons.setdefault(key, []).append(f"{case['workload']} {case['operation']}")
    if not reasons:
        return []
    lines = ["## Empty cells", ""]
    for (name, reason), where in reasons.items():
        places = list(dict.fromkeys(where))
        shown = ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
        lines.append(f"- {name}, {reason} ({shown})")
    return [*lines, ""]
