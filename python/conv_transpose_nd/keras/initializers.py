"""An initializer that starts a transposed convolution without checkerboard artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from conv_transpose_nd import _arguments

__all__ = ["ICNR"]


@keras.saving.register_keras_serializable("conv_transpose_nd")
class ICNR(keras.initializers.Initializer):
    """Initialisation to convolution, nearest-neighbour resize: every phase starts out equal.

    A transposed convolution with stride s forms each of the s phases of its output (per axis) from
    taps of its own, which leaves a pattern of period s: the checkerboard. Here neighbouring taps
    start as copies, in blocks of `scale`:

        kernel[k, co, ci] = part[k // scale, co, ci],    part drawn from `initializer`

    so that with `strides=scale` and `dilation_rate=1` the output is, at first, the transposed
    convolution with `part` and stride 1, each value repeated `scale` times. With 'valid' the
    repeats start at the first position, with 'same' they are moved by what is cropped there.

    Args:
      initializer: a Keras initializer, its name or config, of what is repeated. It sees the shape
        `[spatial / scale..., out_channels, in_channels]`, so that a fan is that of one phase.
      scale: >= 1, the stride of the layer, in taps: an int, or one per spatial axis.

    Raises:
      ValueError: if `scale < 1`; when called, unless each spatial length of the kernel is a
        multiple of its `scale` (phases with different numbers of taps cannot be equal), and if
        `scale` has not one value per spatial axis.
      TypeError: if `scale` is not an integer.

    Example:
      >>> icnr = ct.keras.initializers.ICNR("glorot_uniform", 2)
      >>> kernel = icnr([4, 4, 16, 8])
      >>> bool(np.all(kernel[0, 0] == kernel[1, 1]))
      True

    Reference:
      Aitken et al.: Checkerboard artifact free sub-pixel convolution, arXiv:1707.02937.
    """

    def __init__(self, initializer: Any, scale: int | Sequence[int]) -> None:
        self.initializer = keras.initializers.get(initializer)
        values = scale if isinstance(scale, (list, tuple)) else [scale]
        names = [f"scale[{a}]" if values is scale else "scale" for a in range(len(values))]
        checked = [_arguments.integer(*pair) for pair in zip(names, values, strict=True)]
        for name, value in zip(names, checked, strict=True):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        self.scale = tuple(checked) if values is scale else checked[0]

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Returns a kernel of `shape`, `[spatial..., out_channels, in_channels]`."""
        spatial = tuple(shape)[:-2]
        scales = (self.scale,) * len(spatial) if isinstance(self.scale, int) else self.scale
        if len(scales) != len(spatial):
            raise ValueError(
                f"scale must be an int or have {len(spatial)} values for a kernel of shape "
                f"{tuple(shape)}, got {self.scale}"
            )
        for a, (length, scale) in enumerate(zip(spatial, scales, strict=True)):
            if length % scale:
                raise ValueError(
                    f"the kernel length of spatial axis {a} must be a multiple of scale {scale}, "
                    f"got {length}"
                )
        part_shape = [n // s for n, s in zip(spatial, scales, strict=True)] + list(shape)[-2:]
        kernel = self.initializer(part_shape, dtype=dtype)
        for a, scale in enumerate(scales):
            kernel = keras.ops.repeat(kernel, scale, axis=a)
        return kernel

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "scale": self.scale,
        }
