"""The forms in which arguments may be written -> the one form of the op's attributes.

Only forms are dealt with here. Values (strides >= 1, lengths that fit together) are checked in C++,
at one place for shape functions and kernels. This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

PADDINGS = ("SAME", "VALID", "SAME_LOWER")
ACTIVATIONS = (
    *("none", "relu", "relu6", "leaky_relu", "elu"),
    *("gelu", "gelu_tanh", "sigmoid", "tanh", "silu"),
)


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Attributes of `ConvTransposeND` in the op's form.

    Calls with equal arguments share one instance: never change the lists.
    """

    strides: list[int]  # N+2 values in the order of data_format
    dilations: list[int]  # N+2 values
    padding: str  # SAME, VALID, SAME_LOWER or EXPLICIT
    explicit_paddings: list[int]  # 2 * (N+2) values, none unless padding is EXPLICIT
    output_padding: list[int]  # N values, or none
    data_format: str  # CHANNELS_LAST or CHANNELS_FIRST


def attributes(
    spatial_rank: int,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilations: Any,
    output_padding: Any,
) -> Attributes:
    """Returns the op's attributes for arguments in any accepted form.

    Raises:
      ValueError: if a length or a string is not one of the accepted ones.
      TypeError: if a value is not an integer, or not known when the op is created.
    """
    return _attributes(
        spatial_rank,
        _freeze("strides", strides),
        _freeze("padding", padding),
        canonical_data_format(data_format),
        _freeze("dilations", dilations),
        _freeze("output_padding", output_padding),
    )


# To compute them costs as much as a small transposed convolution; a program has few of them.
@functools.lru_cache(maxsize=1024)
def _attributes(
    spatial_rank: int,
    strides: Any,
    padding: Any,
    data_format: str,
    dilations: Any,
    output_padding: Any,
) -> Attributes:
    channels_first = data_format == "CHANNELS_FIRST"
    name, pairs = _canonical_padding(padding, spatial_rank, channels_first)
    return Attributes(
        strides=_canonical_steps("strides", strides, spatial_rank, channels_first),
        dilations=_canonical_steps("dilations", dilations, spatial_rank, channels_first),
        padding=name,
        explicit_paddings=pairs,
        output_padding=_canonical_output_padding(output_padding, spatial_rank),
        data_format=data_format,
    )


def canonical_data_format(data_format: Any) -> str:
    """Returns CHANNELS_FIRST for all that starts with "NC", CHANNELS_LAST for None and "N...C"."""
    if data_format is None:
        return "CHANNELS_LAST"
    if isinstance(data_format, str):
        if data_format.startswith("NC"):
            return "CHANNELS_FIRST"
        if data_format.startswith("N") and data_format.endswith("C"):
            return "CHANNELS_LAST"
        if data_format.upper() in ("CHANNELS_LAST", "CHANNELS_FIRST"):
            return data_format.upper()
    raise ValueError(
        "data_format must be None, 'N...C' or 'channels_last', or 'NC...' or 'channels_first', "
        f"got {data_format!r}"
    )


def canonical_activation(activation: Any) -> str:
    """Returns the op's name of `activation`: None is 'none'."""
    if activation is None:
        return "none"
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return activation
    names = ", ".join(map(repr, ACTIVATIONS))
    raise ValueError(f"activation must be None or one of {names}, got {activation!r}")


def canonical_groups(groups: Any) -> int:
    """Returns `groups` as an int; its value is checked in C++."""
    return groups if type(groups) is int else integer("groups", _freeze("groups", groups))


def infer_spatial_rank(
    input_rank: int | None,
    filter_rank: int | None,
    output_rank: int | None,
    data_format: Any,
    lists: Sequence[Any],
) -> int:
    """Returns N, the number of spatial axes, from what is known when the op is created.

    Args:
      input_rank: static rank of `input`; None where unknown.
      filter_rank: static rank of `filters`.
      output_rank: static length of `output_shape`.
      data_format: a name like 'NHWC' tells N too.
      lists: strides, dilations, padding: a list of L > 1 values leaves N = L and N = L-2.

    Raises:
      ValueError: if the ranks differ, are below 3 or above 8, or if nothing tells N.
    """
    for name, rank in (("input", input_rank), ("filters", filter_rank)):
        if rank is not None and not 3 <= rank <= 8:
            raise ValueError(f"{name} must have rank 3 to 8, got rank {rank}")
    if input_rank is not None and filter_rank is not None and input_rank != filter_rank:
        raise ValueError(f"filters must have rank {input_rank} (input's), got rank {filter_rank}")
    for rank in (input_rank, filter_rank, output_rank):
        if rank is not None:
            return rank - 2
    if isinstance(data_format, str) and data_format.startswith("N") and len(data_format) > 2:
        return len(data_format) - 2
    lengths = [len(v) for v in lists if isinstance(v, (list, tuple)) and len(v) > 1]
    choices = [{n for n in (length, length - 2) if n >= 1} for length in lengths]
    common = set.intersection(*choices) if choices else set()
    if len(common) == 1:
        return common.pop()
    raise ValueError(
        "the number of spatial axes must be known when the op is created, got input and filters of "
        "unknown rank, and nothing else tells it; use tf.ensure_shape on input, or give "
        "output_shape a static length"
    )


def integer(name: str, value: Any) -> int:
    """Returns `value` as an int, or raises a TypeError that names it."""
    if isinstance(value, float) and value.is_integer():  # TensorFlow takes 2.0 for 2
        return int(value)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {_show(value)}") from None


def _canonical_steps(name: str, value: Any, spatial_rank: int, channels_first: bool) -> list[int]:
    """N+2 values in data_format order from None, an int, or 1, N or N+2 of them."""
    values = _integers(name, 1 if value is None else value)
    if len(values) == spatial_rank + 2:
        return values
    values = _one_per_axis(name, values, spatial_rank, (1, spatial_rank, spatial_rank + 2))
    return [1, 1, *values] if channels_first else [1, *values, 1]


def _canonical_output_padding(value: Any, spatial_rank: int) -> list[int]:
    if value is None:
        return []
    values = _integers("output_padding", value)
    return _one_per_axis("output_padding", values, spatial_rank, (1, spatial_rank))


def _canonical_padding(
    padding: Any, spatial_rank: int, channels_first: bool
) -> tuple[str, list[int]]:
    if isinstance(padding, tuple):
        return "EXPLICIT", _canonical_pairs(padding, spatial_rank, channels_first)
    if isinstance(padding, bytes):  # TensorFlow takes them
        padding = padding.decode("ascii", "replace")
    if padding in PADDINGS:
        return padding, []
    raise ValueError(
        f"padding must be {', '.join(map(repr, PADDINGS))} or a list of (before, after) pairs, "
        f"got {padding!r}"
    )


def _canonical_pairs(pairs: tuple[Any, ...], spatial_rank: int, channels_first: bool) -> list[int]:
    if len(pairs) not in (spatial_rank, spatial_rank + 2):
        raise ValueError(
            f"padding must have {spatial_rank} or {spatial_rank + 2} pairs for {spatial_rank} "
            f"spatial axes, got {len(pairs)}: {_show(pairs)}"
        )
    flat = []
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"padding[{i}] must be a pair (before, after), got {_show(pair)}")
        flat += _integers(f"padding[{i}]", pair)
    if len(pairs) == spatial_rank:
        flat = [0, 0, 0, 0, *flat] if channels_first else [0, 0, *flat, 0, 0]
    return flat


def _integers(name: str, value: Any) -> list[int]:
    if isinstance(value, tuple):
        return [integer(f"{name}[{i}]", v) for i, v in enumerate(value)]
    return [integer(name, value)]


def _one_per_axis(
    name: str, values: list[int], spatial_rank: int, lengths: tuple[int, ...]
) -> list[int]:
    if len(values) == 1:
        return values * spatial_rank
    if len(values) == spatial_rank:
        return values
    *most, last = sorted(set(lengths))
    allowed = f"{', '.join(map(str, most))} or {last}" if most else str(last)
    raise ValueError(
        f"{name} must be an int or have {allowed} values for {spatial_rank} spatial axes, "
        f"got {len(values)}: {values}"
    )


def _freeze(name: str, value: Any) -> Any:
    """Returns `value` with sequences, arrays and known tensors as tuples, to be a key."""
    kind = type(value)
    if value is None or kind is int or kind is str or kind is bytes:
        return value
    if kind is list or kind is tuple:
        return tuple([v if type(v) is int else _freeze(name, v) for v in value])
    if isinstance(value, (dict, set)):
        raise TypeError(f"{name} must be a sequence, got {value!r}")
    if hasattr(value, "graph") and hasattr(value, "op"):
        raise TypeError(f"{name} must be known when the op is created, got the tensor {value}")
    if hasattr(value, "numpy"):  # an eager tensor or a variable
        value = value.numpy()
    if hasattr(value, "tolist"):
        return _freeze(name, value.tolist())
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return tuple(_freeze(name, v) for v in value)
    return value


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_show, value)) + "]"
    return repr(value)
