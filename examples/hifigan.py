"""HiFi-GAN's generator (arXiv:2010.05646, V1): mel frames -> 256 samples each.

Four transposed convolutions with strides 8, 8, 2, 2, each twice as long as its stride, and after
each the mean of residual blocks of several lengths and dilations.
"""

import keras
import numpy as np

import conv_transpose_nd as ct

RATES, LENGTHS, DILATIONS = (8, 8, 2, 2), (3, 7, 11), (1, 3, 5)


def residual(x, channels, length):
    """Three dilated convolutions, each added to its input."""
    for dilation in DILATIONS:
        y = keras.layers.LeakyReLU(0.1)(x)
        y = keras.layers.Conv1D(channels, length, padding="same", dilation_rate=dilation)(y)
        y = keras.layers.LeakyReLU(0.1)(y)
        x = keras.layers.Add()([x, keras.layers.Conv1D(channels, length, padding="same")(y)])
    return x


def generator(channels=512, layers=ct.keras.layers):
    """[batch, frames, 80] -> [batch, 256 * frames, 1] in [-1, 1]; 512 channels in the paper."""
    inputs = keras.Input([None, 80])
    x = keras.layers.Conv1D(channels, 7, padding="same")(inputs)
    for rate in RATES:
        channels //= 2
        x = keras.layers.LeakyReLU(0.1)(x)
        # 'same' of 2 * rate taps crops rate / 2 at both ends, as the paper's padding does.
        x = layers.Conv1DTranspose(channels, 2 * rate, strides=rate, padding="same")(x)
        x = keras.layers.Average()([residual(x, channels, length) for length in LENGTHS])
    x = keras.layers.LeakyReLU(0.01)(x)
    x = keras.layers.Conv1D(1, 7, padding="same", activation="tanh")(x)
    return keras.Model(inputs, x)


if __name__ == "__main__":
    mel = np.random.default_rng(0).standard_normal([1, 20, 80]).astype("float32")
    print("samples:", generator(64)(mel).shape)
