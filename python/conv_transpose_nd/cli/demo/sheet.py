"""Draws the contact sheet: one row per held-out picture, four columns, PSNR under each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from conv_transpose_nd.cli.demo import data
from conv_transpose_nd.cli.demo.data import Bytes
from conv_transpose_nd.cli.demo.evaluation import Judged

COLUMNS = 4
GAP = 12  # pixels between cells and around the sheet
LABEL = 44  # pixels of height for a line of text
FONT_PIXELS = 30
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (90, 90, 90)
_DETAIL_ZOOM = 3
_TITLES = ("input", "bicubic", "ours (FSRCNN)", "original")


def draw(judged: Sequence[Judged], path: Path) -> None:
    """Writes the sheet as PNG.

    Each cell holds the whole picture pixel for pixel, a detail of it three times as large, and a
    label.
    The network enlarges luminance; colour is enlarged with bicubic in both middle columns.

    Args:
      judged: at least one picture.
      path: the PNG to write.
    """
    rows = [_cells(one) for one in judged]
    width = max(cell.width for row in rows for cell in row)
    heights = [max(cell.height for cell in row) for row in rows]
    size = (COLUMNS * (width + GAP) + GAP, sum(heights) + (len(rows) + 1) * GAP + 2 * LABEL)
    sheet = Image.new("RGB", size, _PAPER)
    top = GAP + LABEL
    for column, title in enumerate(_TITLES):
        _text(sheet, title, GAP + column * (width + GAP), GAP, _INK)
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (GAP + column * (width + GAP), top))
        top += height + GAP
    for column, label in enumerate(_mean_labels(judged)):
        _text(sheet, label, GAP + column * (width + GAP), top, _INK)
    sheet.save(path, optimize=True)


def _mean_labels(judged: Sequence[Judged]) -> tuple[str, str, str, str]:
    columns = [(one.psnr_input, one.psnr_bicubic, one.psnr_ours) for one in judged]
    nearest, bicubic, ours = (float(mean) for mean in np.mean(columns, axis=0))
    return (
        f"mean {nearest:.2f} dB",
        f"mean {bicubic:.2f} dB",
        f"mean {ours:.2f} dB ({ours - bicubic:+.2f})",
        "PSNR of luminance",
    )


def _cells(one: Judged) -> list[Image.Image]:
    height, width = one.ours.shape
    small = Image.fromarray(one.pair.small, "YCbCr").convert("RGB")
    pictures = [
        small.resize((width, height), Image.Resampling.NEAREST),
        _coloured(one.bicubic, one.pair.small),
        _coloured(one.ours, one.pair.small),
        Image.fromarray(one.pair.original, "YCbCr").convert("RGB"),
    ]
    labels = [
        f"{one.psnr_input:.2f} dB, {small.width}x{small.height}",
        f"{one.psnr_bicubic:.2f} dB",
        f"{one.psnr_ours:.2f} dB ({one.psnr_ours - one.psnr_bicubic:+.2f})",
        f"{one.pair.name}, {width}x{height}",
    ]
    box = _detail_box(one.pair.original[..., 0])
    return [_cell(picture, label, box) for picture, label in zip(pictures, labels, strict=True)]


def _coloured(luminance: Bytes, small: Bytes) -> Image.Image:
    colour = [data.to_bytes(data.bicubic(small[..., i], *luminance.shape)) for i in (1, 2)]
    return Image.fromarray(np.stack([luminance, *colour], axis=-1), "YCbCr").convert("RGB")


def _detail_box(luminance: Bytes) -> tuple[int, int, int, int]:
    """The box with most detail (greatest mean gradient), a third as wide as the picture."""
    width = luminance.shape[1]
    box_width, box_height = width // _DETAIL_ZOOM, width // (2 * _DETAIL_ZOOM)
    rows, columns = np.gradient(luminance.astype(np.float64))
    total = np.pad(np.cumsum(np.cumsum(np.hypot(rows, columns), 0), 1), ((1, 0), (1, 0)))
    sums = total[box_height:, box_width:] + total[:-box_height, :-box_width]
    sums = sums - total[box_height:, :-box_width] - total[:-box_height, box_width:]
    top, left = (int(i) for i in np.unravel_index(np.argmax(sums), sums.shape))
    return left, top, left + box_width, top + box_height


def _cell(picture: Image.Image, label: str, box: tuple[int, int, int, int]) -> Image.Image:
    zoomed = ((box[2] - box[0]) * _DETAIL_ZOOM, (box[3] - box[1]) * _DETAIL_ZOOM)
    detail = picture.crop(box).resize(zoomed, Image.Resampling.NEAREST)
    cell = Image.new("RGB", (picture.width, picture.height + 4 + detail.height + LABEL), _PAPER)
    cell.paste(picture, (0, 0))
    cell.paste(detail, (0, picture.height + 4))
    _text(cell, label, 0, cell.height - LABEL, _FAINT)
    return cell


def _text(image: Image.Image, text: str, left: int, top: int, ink: tuple[int, int, int]) -> None:
    font = ImageFont.load_default(FONT_PIXELS)
    ImageDraw.Draw(image).text((left, top + (LABEL - FONT_PIXELS) // 2), text, fill=ink, font=font)
