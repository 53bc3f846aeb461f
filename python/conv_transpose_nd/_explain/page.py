"""An explanation as one HTML page that refers to nothing outside, without a script."""

from __future__ import annotations

import html
import importlib.resources
from collections.abc import Iterator
from typing import Any

from conv_transpose_nd._explain import pictures, text
from conv_transpose_nd._explain.result import Explained, Explanation

# Field of `Explained.to_dict`, head, what the value is multiplied by; None for text.
_COLUMNS: tuple[tuple[str, str, float | None], ...] = (
    ("family", "plan", None),
    ("flops", "GFLOP", 1e-9),
    ("bytes", "MB", 1e-6),
    ("bound_by", "bound by", None),
    ("bound_ms", "bound, ms", 1.0),
    ("ours_ms", "this op, ms", 1.0),
    ("stock_ms", "stock, ms", 1.0),
    ("stock_over_ours", "stock / this", 1.0),
)
_SIGNATURE_COLUMNS = (("before_ms", "before, ms"), ("after_ms", "after, ms"))


def page(explanation: Explanation) -> str:
    """The page."""
    style = importlib.resources.files("conv_transpose_nd").joinpath("_explain/page.css")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{_escaped(explanation.target)}</title>\n"
        f"<style>\n{style.read_text(encoding='utf-8')}</style></head>\n<body>\n"
        + "\n".join(_body(explanation))
        + "\n</body></html>\n"
    )


def _body(explanation: Explanation) -> Iterator[str]:
    data = explanation.to_dict()
    yield f"<h1>{_escaped(explanation.target)}</h1>"
    device = explanation.device
    yield (
        f'<p class="faint">{_escaped(device.get("cpu", "processor"))}, threads: '
        f"{explanation.threads}, instruction set: {_escaped(explanation.instruction_set)}</p>"
    )
    yield _tiles(data["total"], len(explanation.convolutions))
    if explanation.convolutions:
        yield "<h2>Transposed convolutions</h2>"
        yield _table(explanation, data["convolutions"])
    picture = pictures.roofline(explanation)
    if picture:
        yield "<h2>Roofline</h2>"
        yield (
            f'{picture}<ul class="key"><li><i class="filled"></i>this op</li><li><i class="hollow">'
            '</i>stock TensorFlow</li><li><i class="dash"></i>bound of the call: its size decides '
            "which cache it is held against</li></ul>"
        )
    if data["signatures"]:
        yield "<h2>Whole signatures, before and after accelerate</h2>"
        yield _signatures(data["signatures"])
    yield from _details(explanation)
    if explanation.notes:
        yield "<h2>Notes</h2>"
        yield from (f"<p>{_escaped(note)}</p>" for note in explanation.notes)


def _tiles(total: dict[str, Any], count: int) -> str:
    tiles = [("count", count, "transposed convolutions", "")]
    if total["stock_ms"] is not None:
        tiles += [
            ("stock_ms", total["stock_ms"], "ms in stock ops to be rewritten", "stock-text"),
            ("ours_ms", total["ours_ms"], "ms with this op", "ours-text"),
            ("saved_ms", total["saved_ms"], "ms saved per call", ""),
            ("stock_over_ours", total["stock_over_ours"], "times as fast", ""),
        ]
    else:
        tiles.append(("rewritable", total["rewritable"], "that accelerate would rewrite", ""))
    items = (
        f'<li><b class="{css}" data-total="{key}" data-value="{value!r}">'
        f"{value if isinstance(value, int) else text.figure(value)}</b>{label}</li>"
        for key, value, label, css in tiles
    )
    return f'<ul class="tiles">{"".join(items)}</ul>'


def _table(explanation: Explanation, rows: list[dict[str, Any]]) -> str:
    heads = "".join(
        f'<th class="{"number" if factor else ""}">{head}</th>' for _, head, factor in _COLUMNS
    )
    lines = [f"<thead><tr><th>name</th><th>geometry</th>{heads}</tr></thead><tbody>"]
    for number, (one, row) in enumerate(zip(explanation.convolutions, rows, strict=True), 1):
        cells = "".join(_cell(field, head, factor, row[field]) for field, head, factor in _COLUMNS)
        name = f"{number} {text.label(one)}"
        lines.append(
            f'<tr data-row="{number}"><td class="name" title="{_escaped(one.call.name)}" '
            f">{_escaped(name)}</td>"
            f'<td class="geometry" data-label="geometry">{_geometry(one)}</td>'
            f"{cells}</tr>"
        )
    return f'<div class="scroll"><table>{"".join(lines)}</tbody></table></div>'


def _cell(field: str, head: str, factor: float | None, value: Any) -> str:
    if factor is None:
        shown = value or "-"
    else:
        shown = text.figure(None if value is None else value * factor)
    css = ' class="number"' if factor else ""
    return (
        f'<td{css} data-label="{head}" data-field="{field}" data-value="{_escaped(repr(value))}">'
        f"{_escaped(shown)}</td>"
    )


def _signatures(rows: list[dict[str, Any]]) -> str:
    heads = "".join(f'<th class="number">{head}</th>' for _, head in _SIGNATURE_COLUMNS)
    lines = [f"<thead><tr><th>signature</th>{heads}</tr></thead><tbody>"]
    for row in rows:
        cells = "".join(_cell(field, head, 1.0, row[field]) for field, head in _SIGNATURE_COLUMNS)
        name = _escaped(f"{row['name']}({row['shapes']})")
        lines.append(f'<tr><td class="name">{name}</td>{cells}</tr>')
    return f"<table>{''.join(lines)}</tbody></table>"


def _details(explanation: Explanation) -> Iterator[str]:
    yield "<h2>Plans and phases</h2>"
    for number, one in enumerate(explanation.convolutions, 1):
        yield f"<article><h3>{number} {_escaped(text.label(one))}</h3>"
        yield from (f"<p>{line}</p>" for line in _about(one))
        yield f"{pictures.phases(one)}</article>"


def _about(one: Explained) -> Iterator[str]:
    yield f'<span class="faint">{_escaped(one.call.name)}: {_escaped(one.call.op)}</span>'
    yield _geometry(one)
    yield f"<b>{_escaped(one.plan['family'])}</b>: {_escaped(one.reason)}"
    share = one.bound_ms / one.times.ours_ms if one.times and one.bound_ms else None
    if share is not None:
        yield (
            f"bound by {_escaped(one.bound_by)}: at least {text.figure(one.bound_ms)} ms on this "
            f"machine; this op takes {text.figure(one.times.ours_ms if one.times else None)} ms, "
            f"{100 * share:.2g} % of the bound's speed"
        )
    yield _escaped(f"accelerate: {one.verdict()}")
    if one.times and one.times.stock_note:
        yield _escaped(one.times.stock_note)


def _geometry(one: Explained) -> str:
    return _escaped(text.geometry(one)).replace(" -&gt; ", "&nbsp;→&nbsp;")


def _escaped(value: Any) -> str:
    return html.escape(str(value))
