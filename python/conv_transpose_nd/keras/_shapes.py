"""Shapes -> the output shape of Keras, and the op's arguments that lead to it.

The one place of Keras' rules, for eager calls, symbolic calls and layers alike. Per axis, with n
and k the lengths of input and kernel, k_d = (k - 1) * dilation + 1 and p the output padding:

    valid: (n - 1) * stride + max(k_d, stride), with p: (n - 1) * stride + k_d + p
    same:  n * stride,                          with p: (n - 1) * stride + k_d % 2 + p
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from conv_transpose_nd.keras._options import Options, Shape


def output_shape(options: Options, input_shape: Shape, kernel_shape: Shape) -> Shape:
    """Returns the shape of the output; a dimension is None where it is not known.

    Raises:
      ValueError: if the shapes do not fit together, or there is no output of that length.
    """
    check_shapes(options, input_shape, kernel_shape)
    op_arguments(options, kernel_shape)  # raises where output_padding does not fit
    spatial = []
    for a, n in enumerate(options.spatial(input_shape)):
        length = _length(options, a, n, kernel_shape[a])
        if length is not None and length < 0:
            raise ValueError(
                f"the output length of spatial axis {a} must be >= 0, got {length} for input "
                f"length {n}, kernel length {kernel_shape[a]}, strides {options.strides[a]}, "
                f"padding {options.padding!r}"
            )
        spatial.append(length)
    filters = kernel_shape[-2]
    channels = None if filters is None else filters * options.groups
    return options.place(input_shape[0], spatial, channels)


@functools.lru_cache(maxsize=1024)
def op_arguments(options: Options, kernel_shape: Shape) -> Mapping[str, Any]:
    """Returns the arguments with which the op infers Keras' output length from any input length.

    Raises:
      ValueError: if output_padding leads to an output that no convolution maps back to the input.
    """
    axes = range(len(options.strides))
    padding: Any = options.padding.upper()
    output_padding: Sequence[int] | None = None
    if options.output_padding is not None:
        # The op takes values below stride. With 'same' and even k_d Keras takes stride, too.
        output_padding = options.output_padding
        crops = [_crop(options, a, kernel_shape[a]) for a in axes]
        if any(p >= s for p, s in zip(output_padding, options.strides, strict=True)):
            padding = [(total // 2, total - total // 2) for total, _ in crops]
            output_padding = [beyond for _, beyond in crops]
    elif options.padding == "valid":
        output_padding = [_valid_padding(options, a, kernel_shape[a]) for a in axes]
    return {
        "strides": options.strides,
        "padding": padding,
        "output_padding": output_padding,
        "data_format": "NC" if options.data_format == "channels_first" else None,
        "dilations": options.dilation_rate,
        "groups": options.groups,
    }


def _valid_padding(options: Options, a: int, k: int | None) -> int:
    """Output padding of 'valid' where none is given: a stride above k_d leaves a gap at the end."""
    s = options.strides[a]
    return 0 if s == 1 else max(s - _dilated(options, a, k), 0)


def _crop(options: Options, a: int, k: int | None) -> tuple[int, int]:
    """How many of the (n - 1) * stride + k_d positions are cropped, and how many added behind."""
    s, k_d, p = options.strides[a], _dilated(options, a, k), (options.output_padding or ())[a]
    odd = k_d % 2 if options.padding == "same" else 0
    least, most = (1 - odd, s - odd) if options.padding == "same" else (0, s - 1)
    if not least <= p <= most:
        raise ValueError(
            f"output_padding[{a}] must be in [{least}, {most}] for strides {s}, kernel length {k}, "
            f"dilation_rate {options.dilation_rate[a]} and padding {options.padding!r}, got {p}"
        )
    if options.padding == "valid":
        return 0, p
    return max(k_d - odd - p, 0), max(p - k_d + odd, 0)


def _dilated(options: Options, a: int, k: int | None) -> int:
    if k is None:
        raise ValueError(
            f"kernel must have a known length on spatial axis {a} for strides "
            f"{options.strides[a]}, padding {options.padding!r} and output_padding "
            f"{options.output_padding}, got None"
        )
    return (k - 1) * options.dilation_rate[a] + 1


def check_shapes(options: Options, input_shape: Shape, kernel_shape: Shape) -> None:
    """Raises ValueError unless ranks and channels of inputs and kernel fit together."""
    rank = len(options.strides)
    for name, shape in (("inputs", input_shape), ("kernel", kernel_shape)):
        if len(shape) != rank + 2:
            raise ValueError(
                f"{name} must have rank {rank + 2}, {rank} spatial axes, got shape {shape}"
            )
    channels, taken = input_shape[options.channel_axis], kernel_shape[-1]
    if None not in (channels, taken) and channels != taken:
        raise ValueError(
            f"inputs must have the input channels of kernel, kernel.shape[-1] = {taken}, got "
            f"{channels} with data_format {options.data_format!r}"
        )


def _length(options: Options, a: int, n: int | None, k: int | None) -> int | None:
    s, same = options.strides[a], options.padding == "same"
    p = None if options.output_padding is None else options.output_padding[a]
    if n is None:
        return None
    if same and p is None:
        return n * s
    if k is None:
        return None
    k_d = _dilated(options, a, k)
    if p is None:
        return (n - 1) * s + max(k_d, s)
    return (n - 1) * s + (k_d % 2 if same else k_d) + p
