"""Keras' arguments -> one form of them: the same rules for functions, operations and layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from conv_transpose_nd import _arguments

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Options:
    """Keras' arguments in one form; equal ones share what is derived from them."""

    strides: tuple[int, ...]
    padding: str
    output_padding: tuple[int, ...] | None
    data_format: str
    dilation_rate: tuple[int, ...]
    groups: int = 1

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def spatial(self, shape: Shape) -> Shape:
        return shape[1:-1] if self.data_format == "channels_last" else shape[2:]

    def place(
        self, batch: int | None, spatial: Sequence[int | None], channels: int | None
    ) -> Shape:
        """The dimensions in the order of `data_format`."""
        if self.data_format == "channels_last":
            return (batch, *spatial, channels)
        return (batch, channels, *spatial)


def canonical(
    rank: int,
    strides: Any,
    padding: Any,
    output_padding: Any,
    data_format: Any,
    dilation_rate: Any,
    groups: int = 1,
) -> Options:
    """Brings the arguments into one form.

    Raises:
      ValueError: unless strides >= 1, dilation_rate >= 1, output_padding >= 0, groups >= 1, padding
        is 'valid' or 'same', data_format None, 'channels_last' or 'channels_first', and lists have
        `rank` values.
      TypeError: if a value is not an integer.
    """
    return Options(
        strides=per_axis("strides", strides, rank, least=1),
        padding=canonical_padding(padding),
        output_padding=(
            None if output_padding is None else per_axis("output_padding", output_padding, rank, 0)
        ),
        data_format=canonical_data_format(data_format),
        dilation_rate=per_axis("dilation_rate", dilation_rate, rank, least=1),
        groups=at_least("groups", groups, 1),
    )


def canonical_padding(padding: Any) -> str:
    """Returns 'valid' or 'same'; letter case does not matter."""
    lower = padding.lower() if isinstance(padding, str) else None
    if lower not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    return str(lower)


def canonical_data_format(data_format: Any) -> str:
    """Returns 'channels_last' or 'channels_first'; None is Keras' image_data_format()."""
    if data_format is None:
        return str(keras.config.image_data_format())
    lower = str(data_format).lower()
    if lower not in ("channels_last", "channels_first"):
        raise ValueError(
            f"data_format must be None, 'channels_last' or 'channels_first', got {data_format!r}"
        )
    return lower


def per_axis(name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """Returns `rank` integers >= `least` from one of them or a list."""
    if not isinstance(value, (tuple, list)):
        return (at_least(name, value, least),) * rank
    if len(value) != rank:
        raise ValueError(f"{name} must be an int or have {rank} values, got {value!r}")
    return tuple(at_least(f"{name}[{a}]", v, least) for a, v in enumerate(value))


def at_least(name: str, value: Any, least: int) -> int:
    """Returns `value` as an int, or raises a TypeError or ValueError that names it."""
    number = _arguments.integer(name, value)
    if number < least:
        raise ValueError(f"{name} must be >= {least}, got {number}")
    return number
