"""TF1's `tf.layers` for transposed convolution, on TensorFlow 2 and without tf_keras."""

from __future__ import annotations

from conv_transpose_nd.compat.v1._conv2d_transpose import Conv2DTranspose, conv2d_transpose
from conv_transpose_nd.compat.v1._conv3d_transpose import Conv3DTranspose, conv3d_transpose

__all__ = ["Conv2DTranspose", "Conv3DTranspose", "conv2d_transpose", "conv3d_transpose"]
