"""An explanation in a terminal: a table with rich, or plain."""

from __future__ import annotations

import importlib.util
import math
from typing import Literal

from conv_transpose_nd._explain.result import Explained, Explanation

# Head, whether it is a number, whether a terminal of 80 columns has room for it.
COLUMNS = (
    ("", False, True),
    ("name", False, True),
    ("geometry", False, False),
    ("plan", False, True),
    ("GFLOP", True, True),
    ("MB", True, False),
    ("bound by", False, False),
    ("bound\nms", True, True),
    ("this op\nms", True, True),
    ("stock\nms", True, True),
    ("stock\n/ this", True, True),
)
_WIDE = 140  # columns of a terminal
# Names of nodes below a layer's.
_GENERIC = {
    *("conv_transpose", "conv_transpose_nd", "convtransposend", "squeeze", "add", "biasadd"),
    *("relu", "relu6", "leakyrelu", "elu", "gelu", "sigmoid", "tanh", "silu", "mul"),
}


def show(explanation: Explanation) -> None:
    """Prints with rich if it is installed, plain if not."""
    if importlib.util.find_spec("rich") is None:
        print(plain(explanation))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    wide = console.width >= _WIDE
    shown = [column for column in COLUMNS if wide or column[2]]
    style = box.HEAVY_HEAD if wide else box.SIMPLE_HEAD
    table = Table(title=explanation.target, title_justify="left", box=style, pad_edge=wide)
    for head, number, _ in shown:
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(head, justify=justify, overflow="fold", no_wrap=number or head == "plan")
    for row in rows(explanation):
        cells = zip(row, COLUMNS, strict=True)
        table.add_row(*(cell for cell, column in cells if wide or column[2]))
    console.print(table)
    for line in remarks(explanation, not wide):
        console.print(line, markup=False)


def plain(explanation: Explanation) -> str:
    """The same without any package."""
    heads = [head.replace("\n", " ") for head, _, _ in COLUMNS]
    table = [heads, *rows(explanation)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [explanation.target]
    for row in table:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, (_, number, _) in zip(row, widths, COLUMNS, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *remarks(explanation)])


def rows(explanation: Explanation) -> list[tuple[str, ...]]:
    """One per transposed convolution, numbered."""
    return [_row(number, one) for number, one in enumerate(explanation.convolutions, 1)]


def _row(number: int, one: Explained) -> tuple[str, ...]:
    times = one.times
    return (
        str(number),
        label(one),
        geometry(one),
        one.plan["family"],
        figure(one.flops * 1e-9),
        figure(one.call.bytes * 1e-6),
        one.bound_by or "-",
        figure(one.bound_ms),
        figure(times.ours_ms if times else None),
        figure(times.stock_ms if times else None),
        figure(one.stock_over_ours),
    )


def remarks(explanation: Explanation, narrow: bool = False) -> list[str]:
    """Why each plan was chosen, what accelerate would gain, and what was not examined.

    And what a narrow table has no room for.
    """
    lines = [_machine(explanation)] if explanation.machine.gflops else []
    for number, one in enumerate(explanation.convolutions, 1):
        if narrow:
            size = f"{figure(one.call.bytes * 1e-6)} MB"
            bound = f"; bound by {one.bound_by}" if one.bound_by else ""
            lines.append(f"{number}: {geometry(one)}; {size}{bound}")
        lines.append(f"{number}: {one.plan['family']}, {one.reason}; {one.verdict()}")
        if one.times and one.times.stock_note:
            lines.append(f"{number}: {one.times.stock_note}")
    lines.append(gain(explanation))
    lines += map(str, explanation.signatures)
    return [*lines, *explanation.notes]


def _machine(explanation: Explanation) -> str:
    machine = explanation.machine
    return (
        f"{explanation.device.get('cpu', 'processor')}, threads: {explanation.threads}, "
        f"{explanation.instruction_set}: {machine.gflops['float32']:.0f} GFLOP/s in float32, "
        f"{machine.copy[-1][1]:.0f} GB/s from memory"
    )


def gain(explanation: Explanation) -> str:
    """What `accelerate` would gain in total, in a sentence."""
    total = explanation.total()
    if not total["rewritable"]:
        return "accelerate: nothing to rewrite"
    if total["stock_ms"] is None:
        return f"accelerate would rewrite {total['rewritable']}"
    return (
        f"accelerate would rewrite {total['rewritable']}: {figure(total['stock_ms'])} ms -> "
        f"{figure(total['ours_ms'])} ms, {figure(total['stock_over_ours'])} times as fast"
    )


def label(one: Explained) -> str:
    """The layer's name, where the node is one of a layer's."""
    parts = one.call.name.split("/")
    generic = len(parts) > 1 and parts[-1].lower() in _GENERIC
    return parts[-2] if generic else parts[-1]


def geometry(one: Explained) -> str:
    """Channels, lengths, filter and what differs from the defaults, in a line."""
    call = one.call
    lengths = f"{_by(call.spatial(call.input_shape))} -> {_by(call.spatial(call.output_shape))}"
    channels = f"{call.channels(call.input_shape)} -> {call.channels(call.output_shape)}"
    batch = f"batch {call.input_shape[0]}, " if call.input_shape[0] != 1 else ""
    parts = [
        f"{batch}{lengths}, channels {channels}",
        f"filter {_by(call.filter_shape[:-2])}, stride {_by(call.strides)}",
        call.padding if isinstance(call.padding, str) else f"pads {call.padding}",
        *([f"dilation {_by(call.dilations)}"] if set(call.dilations) != {1} else []),
        *([f"groups {call.groups}"] if call.groups > 1 else []),
        *([call.dtype] if call.dtype != "float32" else []),
        *(["channels first"] if call.data_format == "CHANNELS_FIRST" else []),
        *(["bias"] if call.bias else []),
        *([call.activation] if call.activation != "none" else []),
    ]
    return ", ".join(parts)


def _by(lengths: list[int]) -> str:
    return (
        str(lengths[0])
        if len(set(lengths)) == 1 and len(lengths) == 1
        else "x".join(map(str, lengths))
    )


def figure(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
