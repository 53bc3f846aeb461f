"""The generator: FSRCNN, with the transposed convolution as its last layer.

Dong, Loy, Tang, "Accelerating the Super-Resolution Convolutional Neural Network", 2016
(arXiv:1608.00367), d = 56, s = 12, m = 4, scale 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from conv_transpose_nd.cli.demo.data import SCALE, Floats

FEATURES, SHRUNK, MAPPINGS = 56, 12, 4
TAIL_SIZE = 9
# 9 output pixels are 3 small ones: the filter reaches one past the one that it is centred on.
TAIL_MARGIN = TAIL_SIZE // SCALE // 2
# 5x5 takes 2 pixels per side, each 3x3 takes 1.
MARGIN = 2 + MAPPINGS + TAIL_MARGIN
# Feature i has its centre tap (4) on output pixel SCALE·(i − TAIL_MARGIN) + 1, the middle of the
# SCALE pixels that small pixel i − TAIL_MARGIN covers, if 4 − crop = 1 − SCALE·TAIL_MARGIN.
TAIL_CROP = TAIL_SIZE // 2 - 1 + SCALE * TAIL_MARGIN

Transpose = Callable[[Any, Any, Any], Any]


def fused_transpose(features: Any, filters: Any, bias: Any) -> Any:
    """The last layer with this package's op: one call, the bias added in the one store."""
    from conv_transpose_nd import conv_transpose_nd

    crop = [(TAIL_CROP, TAIL_CROP)] * 2
    return conv_transpose_nd(features, filters, strides=SCALE, padding=crop, bias=bias)


def stock_transpose(features: Any, filters: Any, bias: Any) -> Any:
    """The last layer with stock TensorFlow: the same mathematics, for comparison."""
    shape = tf.shape(features)
    size = SCALE * (shape[1:3] - 2 * TAIL_MARGIN)
    output_shape = tf.concat([shape[:1], size, [1]], axis=0)
    crop = [[0, 0], [TAIL_CROP] * 2, [TAIL_CROP] * 2, [0, 0]]
    output = tf.nn.conv2d_transpose(features, filters, output_shape, SCALE, crop)
    return tf.nn.bias_add(output, bias)


class Generator(tf.Module):
    """Enlarges luminance three times: [batch, height, width, 1] -> [batch, 3·height, 3·width, 1].

    Values are in [0, 1]; batch, height and width are dynamic. Channel 0 starts as a pass-through
    and the tail's filter for it as cubic interpolation, so training begins near bicubic, and
    every weight is free to move from there.

    Args:
      seed: seeds the initial weights; equal seeds give equal weights.
      transpose: the last layer, (features, filters, bias) -> output.
    """

    def __init__(self, seed: int, transpose: Transpose = fused_transpose) -> None:
        super().__init__(name="fsrcnn")
        random = np.random.default_rng(seed)
        shapes = [(5, 1, FEATURES), (1, FEATURES, SHRUNK)]
        shapes += [(3, SHRUNK, SHRUNK)] * MAPPINGS + [(1, SHRUNK, FEATURES)]
        self.filters = [tf.Variable(_pass_through(random, *shape)) for shape in shapes]
        self.biases = [tf.Variable(tf.zeros([shape[2]])) for shape in shapes]
        self.slopes = [tf.Variable(tf.fill([shape[2]], 0.25)) for shape in shapes]
        self.tail_filter = tf.Variable(_tail(random))
        self.tail_bias = tf.Variable(tf.zeros([1]))
        self._transpose = transpose

    def with_transpose(self, transpose: Transpose) -> Generator:
        """A generator with equal weights whose last layer is computed by `transpose`."""
        other = Generator(0, transpose)
        for mine, its in zip(self.variables, other.variables, strict=True):
            its.assign(mine)
        return other

    def features(self, pictures: Any) -> Any:
        """What the last layer reads: [batch, height − 12, width − 12, 56]."""
        hidden = pictures
        for filters, bias, slope in zip(self.filters, self.biases, self.slopes, strict=True):
            hidden = tf.nn.bias_add(tf.nn.conv2d(hidden, filters, 1, "VALID"), bias)
            hidden = _prelu(hidden, slope)
        return hidden

    def reconstruct(self, features: Any) -> Any:
        """The last layer: [batch, n, m, 56] -> [batch, 3·(n − 2), 3·(m − 2), 1]."""
        return self._transpose(features, self.tail_filter, self.tail_bias)

    def from_context(self, pictures: Any) -> Any:
        """Enlarges the inner part of pictures that bring their own MARGIN of real pixels."""
        return self.reconstruct(self.features(pictures))

    def padded_features(self, pictures: Any) -> Any:
        """The features of whole pictures, whose edges are repeated MARGIN pixels outwards."""
        return self.features(_repeat_edges(pictures, MARGIN))

    def __call__(self, pictures: Any) -> Any:
        """Enlarges whole pictures: [batch, height, width, 1] -> [batch, 3·height, 3·width, 1]."""
        return self.reconstruct(self.padded_features(pictures))

    def magnitude(self, features: Any) -> Any:
        """Σ|feature|·|weight| + |bias| per output: what float32 rounding errors are measured by."""
        return stock_transpose(abs(features), abs(self.tail_filter), abs(self.tail_bias))


def _prelu(hidden: Any, slope: Any) -> Any:
    positive = tf.nn.relu(hidden)
    return positive + slope * (hidden - positive)


def _repeat_edges(pictures: Any, margin: int) -> Any:
    """Repeats the border pixels; unlike tf.pad's modes, for pictures of any size from one pixel."""
    for axis in (1, 2):
        length = tf.shape(pictures)[axis]
        index = tf.clip_by_value(tf.range(-margin, length + margin), 0, length - 1)
        pictures = tf.gather(pictures, index, axis=axis)
    return pictures


def _pass_through(random: np.random.Generator, size: int, inputs: int, outputs: int) -> Floats:
    """He's initial weights, but output channel 0 copies input channel 0."""
    deviation = np.sqrt(2 / (size * size * inputs))
    weights = random.normal(0, deviation, (size, size, inputs, outputs))
    weights[..., 0] = 0
    weights[size // 2, size // 2, 0, 0] = 1
    return weights.astype(np.float32)


def _tail(random: np.random.Generator) -> Floats:
    """[9, 9, 1, 56]: small random weights (the paper's 0.001), and interpolation for channel 0."""
    weights = random.normal(0, 0.001, (TAIL_SIZE, TAIL_SIZE, 1, FEATURES))
    taps = _keys_cubic((np.arange(TAIL_SIZE) - TAIL_SIZE // 2) / SCALE)
    for phase in range(SCALE):
        taps[phase::SCALE] /= taps[phase::SCALE].sum()
    weights[:, :, 0, 0] = np.outer(taps, taps)
    return weights.astype(np.float32)


def _keys_cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = −0.5, the one that `data.bicubic` uses."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
