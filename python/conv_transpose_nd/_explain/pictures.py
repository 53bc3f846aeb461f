"""A roofline, and which taps make which outputs: inline SVG in the colours of the page."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence

from conv_transpose_nd._explain.result import Explained, Explanation

# Outputs that a phase diagram shows at most; two phases more than the widest filter reaches.
_MAX_OUTPUTS = 20
_MAX_PHASES_LISTED = 8


def roofline(explanation: Explanation) -> str:
    """GFLOP/s over FLOP per byte: each call, with this op and stock, below the machine's limits."""
    dtypes = {one.call.dtype for one in explanation.convolutions}
    dtype = dtypes.pop() if len(dtypes) == 1 else "float32"
    machine = explanation.machine
    peak, copy = machine.gflops.get(dtype), machine.copy
    shown = [one for one in explanation.convolutions if one.times and one.flops]
    if not peak or not shown:
        return ""
    memory, cache = copy[-1][1], max(rate for _, rate in copy)
    rates = [rate for one in shown for rate in _rates(one)]
    xs = [one.flops / one.call.bytes for one in shown] + [2 * peak / memory, 0.7 * peak / cache]
    axes = _Axes((min(xs) / 1.6, max(xs) * 1.6), (min([*rates, peak / 30]) / 1.6, peak * 1.7))
    parts = axes.grid()
    for rate in (memory, cache):
        start = max(axes.x_range[0], axes.y_range[0] / rate)
        parts.append(axes.line((start, rate * start), (peak / rate, peak), "roof"))
    start = max(axes.x_range[0], axes.y_range[0] / memory)
    middle = start * (peak / memory / start) ** 0.35
    parts.append(axes.slanted((middle, memory * middle), f"memory {memory:.0f} GB/s", "roof-label"))
    parts.append(axes.line((peak / cache, peak), (axes.x_range[1], peak), "roof"))
    right, top = axes.x(axes.x_range[1]), axes.y(peak)
    parts.append(_text(right, top - 6, f"{peak:.0f} GFLOP/s in {dtype}", "end", "roof-label"))
    label = f"fastest cache {cache:.0f} GB/s"
    parts.append(_text(axes.x(peak / cache) + 4, top + 17, label, "start", "roof-label"))
    places = _Places([axes.at(one, rate) for one in shown for rate in _rates(one)])
    for number, one in enumerate(explanation.convolutions, 1):
        if one in shown:
            parts += _point(axes, places, number, one)
    return axes.svg(parts, "roofline")


def _rates(one: Explained) -> list[float]:
    times = one.times
    found = [] if times is None else [times.ours_ms, times.stock_ms]
    return [one.flops / ms * 1e-6 for ms in found if ms]


def _point(axes: _Axes, places: _Places, number: int, one: Explained) -> list[str]:
    rates = _rates(one)
    (x, own), *stock = (axes.at(one, rate) for rate in rates)
    parts = []
    for _, y in stock:
        parts.append(_line((x, own), (x, y), "pair"))
        parts.append(_circle(x, y, "stock", f"{number}: stock TensorFlow {rates[1]:.1f} GFLOP/s"))
    parts.append(_circle(x, own, "ours", f"{number}: this op {rates[0]:.1f} GFLOP/s"))
    if one.bound_ms:
        _, top = axes.at(one, one.flops / one.bound_ms * 1e-6)
        parts.append(_line((x - 7, top), (x + 7, top), "ceiling"))
    left, top = places.take(x, own)
    parts.append(_text(left, top, str(number), "middle", "number"))
    return parts


class _Axes:
    """Two logarithmic axes."""

    left, top, width, height = 52, 14, 490, 310

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + self.width * math.log(value / low) / math.log(high / low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height * (1 - math.log(value / low) / math.log(high / low))

    def at(self, one: Explained, rate: float) -> tuple[float, float]:
        """Where a call with this many GFLOP/s lies."""
        return self.x(one.flops / one.call.bytes), self.y(rate)

    def grid(self) -> list[str]:
        """Lines at powers of ten, numbered, and what the axes mean."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for tick in _powers(*self.x_range):
            x = self.x(tick)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" y1="{self.top}" x2="{x:.1f}" y2="{bottom}"/>'
            )
            parts.append(_text(x, bottom + 17, f"{tick:g}", "middle"))
        for tick in _powers(*self.y_range):
            y = self.y(tick)
            parts.append(
                f'<line class="grid" x1="{self.left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            )
            parts.append(_text(self.left - 6, y + 5, f"{tick:g}", "end"))
        middle = self.top + self.height / 2
        parts.append(_text(self.left + self.width / 2, bottom + 38, "FLOP per byte", "middle"))
        parts.append(
            f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
            "GFLOP/s</text>"
        )
        return parts

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
        places = [(self.x(x), self.y(y)) for x, y in (start, end)]
        return _line(places[0], places[1], kind)

    def slanted(self, at: tuple[float, float], text: str, kind: str) -> str:
        """Text along a line of slope 1, above it."""
        x_scale = self.width / math.log(self.x_range[1] / self.x_range[0])
        y_scale = self.height / math.log(self.y_range[1] / self.y_range[0])
        angle = -math.degrees(math.atan2(y_scale, x_scale))
        return (
            f'<text class="{kind}" transform="translate({self.x(at[0]):.1f} {self.y(at[1]):.1f}) '
            f'rotate({angle:.1f}) translate(0 -6)">{html.escape(text)}</text>'
        )

    def svg(self, parts: Sequence[str], kind: str) -> str:
        width, height = self.left + self.width + 12, self.top + self.height + 46
        return (
            f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="roofline">{"".join(parts)}</svg>'
        )


class _Places:
    """Where numbers are, so that the next one lies beside them."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        self._taken = [(x, y + 5) for x, y in points]

    def take(self, x: float, y: float) -> tuple[float, float]:
        """A place near a point, the freest of a few."""
        around = [(0, -9), (14, 5), (-14, 5), (0, 20), (15, -9), (-15, -9), (28, 5), (-28, 5)]
        offers = [(x + dx, y + dy) for dx, dy in around]
        free = [o for o in offers if all(math.dist(o, t) > 11 for t in self._taken)]
        place = (free or offers)[0]
        self._taken.append(place)
        return place


def phases(one: Explained) -> str:
    """For each kind of axis: which input makes which output, through which tap, by phase."""
    call, geometry = one.call, one.geometry
    inputs, outputs = call.spatial(call.input_shape), call.spatial(call.output_shape)
    columns = (
        *(call.strides, call.dilations, call.filter_shape, geometry["pad_before"]),
        *(inputs, outputs),
    )
    axes: dict[tuple[int, ...], list[int]] = {}
    for axis in range(call.rank):
        axes.setdefault(tuple(column[axis] for column in columns), []).append(axis)
    return "".join(_axis(_names(numbers, call.rank), *key) for key, numbers in axes.items())


def _names(numbers: list[int], rank: int) -> str:
    if rank == 1:
        return ""
    listed = ", ".join(map(str, numbers))
    return f"axis {listed}: " if len(numbers) == 1 else f"axes {listed}: "


def _axis(names: str, stride: int, dilation: int, taps: int, pad: int, n: int, out: int) -> str:
    caption = (
        f"{names}{n} → {out}, {taps} taps, stride {stride}, dilation {dilation}, pad_before {pad}"
    )
    reach = (taps - 1) * dilation + 1
    shown = min(out, max(reach + stride, 2 * stride + 2, 8), _MAX_OUTPUTS)
    edges = [
        (i, o, k)
        for o, k in itertools.product(range(shown), range(taps))
        for i, left in [divmod(o + pad - k * dilation, stride)]
        if left == 0 and 0 <= i < n
    ]
    inputs = sorted({i for i, _, _ in edges})
    cell = 30.0
    centre = {i: i * stride - pad + (reach - 1) / 2 for i in inputs}
    low = min([0.0, *centre.values()]) - 0.5
    high = max([shown - 1.0, *centre.values()]) + (1.5 if shown < out else 0.5)

    def x(position: float) -> float:
        return 8 + (position - low) * cell

    parts = []
    for i, o, k in edges:
        x1, x2, color = x(centre[i]), x(o), _color((o + pad) % stride, stride)
        parts.append(f'<line x1="{x1:.1f}" y1="38" x2="{x2:.1f}" y2="128" stroke="{color}"/>')
        parts.append(_text(x1 + 0.8 * (x2 - x1), 114, str(k), "middle", "tap"))
    for i in inputs:
        parts.append(_cell(x(centre[i]), 10, f"{i}", "input", None))
    for o in range(shown):
        parts.append(_cell(x(o), 128, f"{o}", "output", _color((o + pad) % stride, stride)))
    if shown < out:
        parts.append(_text(x(shown), 148, "...", "middle"))
    width = 16 + (high - low) * cell
    size = f"min-width:{min(width, 420):.0f}px;max-width:{width:.0f}px"
    picture = (
        f'<svg class="phases" viewBox="0 0 {width:.0f} 166" style="{size}" '
        f'role="img" aria-label="{html.escape(caption)}">{"".join(parts)}</svg>'
    )
    return (
        f'<figure><figcaption>{html.escape(caption)}</figcaption><div class="scroll">{picture}'
        f"</div>{_legend(stride, dilation, taps, min(stride, out))}</figure>"
    )


def _legend(stride: int, dilation: int, taps: int, count: int) -> str:
    items = []
    for phase in range(min(count, _MAX_PHASES_LISTED)):
        own = [str(k) for k in range(taps) if (k * dilation - phase) % stride == 0]
        text = f"taps {', '.join(own)}" if len(own) > 1 else f"tap {own[0]}" if own else "no tap"
        items.append(
            f'<li><i style="background:{_color(phase, stride)}"></i>phase {phase}: {text}</li>'
        )
    if count > _MAX_PHASES_LISTED:
        items.append(f"<li>... {count} phases</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _color(phase: int, stride: int) -> str:
    return f"hsl({(212 + 360 * phase / stride) % 360:.0f} 62% 48%)"


def _cell(x: float, y: float, text: str, kind: str, color: str | None) -> str:
    style = f' style="fill:{color}"' if color else ""
    return (
        f'<rect class="{kind}" x="{x - 13:.1f}" y="{y}" width="26" height="28" rx="4"{style}/>'
        + _text(x, y + 19, text, "middle", f"{kind}-number")
    )


def _powers(low: float, high: float) -> list[float]:
    return [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _circle(x: float, y: float, kind: str, title: str) -> str:
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{html.escape(title)}'
        "</title></circle>"
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    css = f' class="{kind}"' if kind else ""
    return f'<text{css} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
