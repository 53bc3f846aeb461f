"""Four spatial axes: a light field, 2 axes of views and 2 of pixels, enlarged in one call.

Linear interpolation of every axis is a transposed convolution with the taps 1/2, 1, 1/2; over four
axes the filter is their product.
"""

import numpy as np
import tensorflow as tf

import conv_transpose_nd as ct

LINEAR = np.array([0.5, 1.0, 0.5], "float32")


def enlarge(light_field):
    """[batch, v, u, y, x, channels] -> twice as many views and pixels along each axis."""
    channels = light_field.shape[-1]
    taps = np.einsum("a,b,c,d->abcd", LINEAR, LINEAR, LINEAR, LINEAR)
    # One group per channel: [taps..., out_channels / groups, in_channels].
    filters = np.repeat(taps[..., None, None], channels, axis=-1)
    return ct.conv_transpose_nd(light_field, filters, strides=2, groups=channels)


def enlarge_one_by_one(light_field):
    """The same with stock TensorFlow: one axis after the other, channels as examples."""
    result = light_field
    for axis in range(1, 5):
        moved = np.moveaxis(result, axis, -1)
        rows = moved.reshape(-1, moved.shape[-1], 1)
        shape = [len(rows), 2 * rows.shape[1], 1]
        filters = LINEAR[:, None, None]
        long = tf.nn.conv1d_transpose(rows, filters, shape, 2).numpy()
        result = np.moveaxis(long.reshape(*moved.shape[:-1], -1), -1, axis)
    return result


if __name__ == "__main__":
    views = np.random.default_rng(0).random([1, 3, 3, 16, 16, 3], np.float32)
    ours, stock = enlarge(views), enlarge_one_by_one(views)
    print(views.shape, "->", ours.shape, "largest difference:", np.abs(ours - stock).max())
