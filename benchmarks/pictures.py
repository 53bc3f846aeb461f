"""The figures as pictures, SVG without dates, so that equal figures give equal files."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from benchmarks import summary
from benchmarks.results import Results

Json = dict[str, Any]
_GOOD, _BAD, _LINE, _TEXT = "#2b7a4b", "#b23a3a", "#999999", "#222222"
_BOUND = "#1f4e9c"


def draw(figures: Results) -> dict[str, str]:
    """By name: bars of the ratios and a roofline, per operation, dtype and number of threads."""
    found = {}
    groups = {(c["operation"], c["dtype"], c["threads"]) for c in figures.cases}
    for operation, dtype, threads in sorted(groups):
        cases = [
            c
            for c in figures.cases
            if (c["operation"], c["dtype"], c["threads"]) == (operation, dtype, threads)
        ]
        name = f"{operation}_{dtype}_{threads}"
        found[f"ratio_{name}"] = ratios(cases)
        limits = figures.limits.get(str(threads), {})
        if limits.get("gflops"):
            found[f"roofline_{name}"] = roofline(cases, limits["gflops"][dtype], limits["copy"])
    return found


def ratios(cases: list[Json]) -> str:
    """One bar per workload: the time of the best peer over ours, on a logarithmic axis."""
    pairs = [(case, summary.against_all(case)) for case in cases]
    rows = [(case["workload"], value, summary.best(case)) for case, value in pairs if value]
    rows.sort(key=lambda row: -row[1])
    left, width, step = 160, 520, 16
    low = min([0.5, *(row[1] for row in rows)]) / 1.05
    high = max([4.0, *(row[1] for row in rows)]) * 1.05

    def x(value: float) -> float:
        return left + width * math.log(value / low) / math.log(high / low)

    height = 60 + step * len(rows)
    head = cases[0]
    title = f"best peer / op: {head['operation']}, {head['dtype']}, threads: {head['threads']}"
    parts = [_text(left, 18, title, size=13)]
    for tick in (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        if low <= tick <= high:
            parts.append(
                _line(x(tick), 30, x(tick), height - 22, _TEXT if tick == 1 else "#dddddd")
            )
            parts.append(_text(x(tick), height - 8, f"{tick:g}", anchor="middle"))
    for index, (name, value, best) in enumerate(rows):
        y = 34 + step * index
        start, end = sorted((x(1), x(value)))
        color = _GOOD if value >= 1 else _BAD
        parts.append(
            f'<rect x="{start:.1f}" y="{y}" width="{end - start:.1f}" height="{step - 4}" '
            f'fill="{color}"/>'
        )
        parts.append(_text(left - 6, y + 10, name, anchor="end"))
        label = f"{value:.2f}" + (f" {best[0]}" if best else "")
        parts.append(_text(left + width + 8, y + 10, label))
    return _svg(left + width + 190, height, parts)


def roofline(cases: list[Json], peak: float, copy: list[list[float]]) -> str:
    """GFLOP/s over FLOP per byte: where each workload stands below the machine's limits."""
    points = []
    for case in cases:
        found = summary.times(case)
        own = next((found[n] for n in (summary.ours(case), "op", "core") if n in found), None)
        if own:
            points.append(
                (case["workload"], case["flops"] / case["bytes"], case["flops"] / own / 1e6)
            )
    memory, cache = copy[-1][1], max(rate for _, rate in copy)
    left, top, width, height = 60, 30, 640, 380
    xs = [p[1] for p in points] + [0.5, 2 * peak / memory]
    ys = [p[2] for p in points] + [peak * 1.5]
    x_low, x_high = min(xs) / 1.3, max(xs) * 1.3
    y_low, y_high = min(ys) / 1.5, max(ys) * 1.3

    def x(value: float) -> float:
        return left + width * math.log(value / x_low) / math.log(x_high / x_low)

    def y(value: float) -> float:
        return top + height * (1 - math.log(value / y_low) / math.log(y_high / y_low))

    head = cases[0]
    title = f"roofline: {head['operation']}, {head['dtype']}, threads: {head['threads']}"
    parts = [_text(left, 18, title, size=13)]
    for tick in _powers(x_low, x_high):
        parts.append(_line(x(tick), top, x(tick), top + height, "#eeeeee"))
        parts.append(_text(x(tick), top + height + 14, f"{tick:g}", anchor="middle"))
    for tick in _powers(y_low, y_high):
        parts.append(_line(left, y(tick), left + width, y(tick), "#eeeeee"))
        parts.append(_text(left - 6, y(tick) + 4, f"{tick:g}", anchor="end"))
    for rate, name in ((memory, "largest copy"), (cache, "fastest copy")):
        start = max(x_low, y_low / rate)
        parts.append(_line(x(start), y(rate * start), x(peak / rate), y(peak), _BOUND))
        place = math.sqrt(start * peak / rate)
        parts.append(_text(x(place) + 6, y(rate * place) + 12, f"{name} {rate:.0f} GB/s"))
    parts.append(_line(x(peak / cache), y(peak), left + width, y(peak), _BOUND))
    parts.append(_text(left + width, y(peak) - 5, f"{peak:.0f} GFLOP/s", anchor="end"))
    for name, intensity, rate in points:
        parts.append(
            f'<circle cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="3" fill="{_GOOD}">'
            f"<title>{html.escape(name)}: {rate:.1f} GFLOP/s</title></circle>"
        )
    label = "FLOP per byte (operands read once, result written once); up: GFLOP/s"
    parts.append(_text(left + width / 2, top + height + 32, label, anchor="middle"))
    return _svg(left + width + 20, top + height + 44, parts)


def _powers(low: float, high: float) -> list[float]:
    return [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{_TEXT}">'
        f"{html.escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str = _LINE) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _svg(width: float, height: float, parts: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"
