"""Figures of the geometry as SVG: colours are phases, the page's style sheet says which."""

from __future__ import annotations

from scripts.pages.arithmetic import Axis, parse

_CELL, _GAP, _LINE = 46, 8, 17
PHASES = 4  # colours of the style sheet


def draw(text: str) -> str:
    """The figure that a block of a page describes; see `arithmetic.parse`."""
    kind, axis = parse(text)
    return _grid(axis) if kind == "grid" else _axis(axis)


def caption(axis: Axis) -> str:
    """What a figure shows, for those who cannot see it."""
    words = [f"{axis.n} inputs, {axis.k} taps, stride {axis.stride}, dilation {axis.dilation}"]
    words.append(f"padding {axis.padding[0]} before and {axis.padding[1]} after")
    words.append(f"output_padding {axis.output_padding}: {axis.output_length} outputs")
    return ", ".join(words)


def _axis(axis: Axis) -> str:
    """Input above, output below, a line per product, the sum of each output under it."""
    before = axis.padding[0]
    last = axis.output_length - 1
    positions = range(-before, max(axis.full_length - before, axis.output_length))
    pitch = _CELL + _GAP
    width = max(len(positions), axis.n * axis.stride) * pitch + 100
    left = 92
    top_y, out_y = 56, 150
    most = max((len(axis.products(o)) for o in positions), default=0)

    def out_x(position: int) -> float:
        return left + (position + before) * pitch

    def in_x(i: int) -> float:
        # Above the middle of the positions that it reaches.
        reach = (axis.k - 1) * axis.dilation / 2
        return left + (i * axis.stride + reach) * pitch

    parts = [_label(0, top_y + 28, "input"), _label(0, out_y + 28, "output")]
    parts += [_label(0, 22, "filter")]
    for k in range(axis.k):
        phase = k * axis.dilation % axis.stride
        parts.append(_box(left + k * pitch, 4, f"w{k}", phase, height=28))
    for o in positions:
        for i, _ in axis.products(o):
            inside = 0 <= o <= last
            parts.append(
                f'<line class="edge {_phase(axis.phase(o))}{"" if inside else " cut"}" '
                f'x1="{in_x(i) + _CELL / 2:g}" y1="{top_y + _CELL}" '
                f'x2="{out_x(o) + _CELL / 2:g}" y2="{out_y}"/>'
            )
    parts += [_box(in_x(i), top_y, f"x{i}", None) for i in range(axis.n)]
    for o in positions:
        inside = 0 <= o <= last
        phase = axis.phase(o) if inside and axis.taps(axis.phase(o)) else None
        name = f"y{o}" if inside else ""
        extra = "" if inside else " cut"
        parts.append(_box(out_x(o), out_y, name, phase, extra))
        for row, (i, k) in enumerate(axis.products(o)):
            y = out_y + _CELL + _LINE * (row + 1)
            kind = "sum" if inside else "sum cut"
            parts.append(_text(out_x(o) + _CELL / 2, y, f"x{i}·w{k}", kind))
        if inside and not axis.products(o):
            parts.append(_text(out_x(o) + _CELL / 2, out_y + _CELL + _LINE, "0", "sum"))
    height = out_y + _CELL + _LINE * max(most, 1) + 12
    return _svg(width, height, caption(axis), parts)


def _grid(axis: Axis) -> str:
    """Two equal axes: one input's stamp, the filter's taps and the output's phases by colour."""
    cell, gap, top = 26, 96, 34
    side = axis.output_length
    names = ("input", "filter", "output")
    lengths = (axis.n, axis.k, side)
    # Half of an outline lies outside its cell.
    lefts = [1, axis.n * cell + gap, (axis.n + axis.k) * cell + 2 * gap]
    height = top + side * cell + 8
    middle = axis.n // 2
    parts = []
    for name, length, left in zip(names, lengths, lefts, strict=True):
        start = top + (side - length) * cell / 2
        parts.append(
            _text(left + length * cell / 2, start - 10, f"{name} {length} x {length}", "l")
        )
        for row in range(length):
            for column in range(length):
                phase = {
                    "input": lambda r, c: None,
                    "filter": lambda r, c: _both(axis, r * axis.dilation, c * axis.dilation),
                    "output": lambda r, c: _both(axis, r + axis.padding[0], c + axis.padding[0]),
                }[name](row, column)
                chosen = name == "input" and row == column == middle
                kind = "chosen" if chosen else _phase(phase)
                x, y = left + column * cell, start + row * cell
                parts.append(
                    f'<rect class="cell {kind}" x="{x:g}" y="{y:g}" width="{cell}" '
                    f'height="{cell}"/>'
                )
    for place, sign in ((lefts[1] - gap / 2, "*"), (lefts[2] - gap / 2, "=")):
        parts.append(_text(place, top + side * cell / 2 + 8, sign, "sign"))
    reach = ((axis.k - 1) * axis.dilation + 1) * cell
    corner = middle * axis.stride - axis.padding[0]
    parts.append(
        f'<rect class="stamp" x="{lefts[2] + corner * cell}" y="{top + corner * cell}" '
        f'width="{reach}" height="{reach}"/>'
    )
    label = f"two axes, each with {caption(axis)}; one colour per phase"
    return _svg(lefts[2] + side * cell + 8, height, label, parts, "figure grid")


def _both(axis: Axis, row: int, column: int) -> int:
    return row % axis.stride * axis.stride + column % axis.stride


def _phase(phase: int | None) -> str:
    return "plain" if phase is None else f"phase{phase % PHASES}"


def _box(x: float, y: float, name: str, phase: int | None, more: str = "", height: int = 0) -> str:
    tall = height or _CELL
    return (
        f'<rect class="cell {_phase(phase)}{more}" x="{x:g}" y="{y:g}" width="{_CELL}" '
        f'height="{tall}" rx="4"/>' + _text(x + _CELL / 2, y + tall / 2 + 5, name, "name")
    )


def _label(x: float, y: float, text: str) -> str:
    return f'<text class="label" x="{x:g}" y="{y:g}">{text}</text>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="middle">{text}</text>'


def _svg(width: float, height: float, label: str, parts: list[str], kind: str = "figure") -> str:
    # One line, so that Markdown takes it for one block of HTML.
    return (
        f'<svg class="{kind}" role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">{"".join(parts)}</svg>'
    )
