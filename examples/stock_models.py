"""Three generators of published kinds, in stock Keras, saved with `model.export`.

    python examples/stock_models.py FOLDER

It never imports conv_transpose_nd: what it writes is what anybody's TensorFlow writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
from keras import layers


def dcgan(width: int = 64) -> keras.Model:
    """The generator of arXiv:1511.06434: 100 numbers to a picture of 64 x 64."""
    x = inputs = keras.Input([100])
    x = layers.Reshape([4, 4, 8 * width])(layers.Dense(16 * 8 * width)(x))
    for channels in (4 * width, 2 * width, width):
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2DTranspose(channels, 5, 2, "same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Conv2DTranspose(3, 5, 2, "same", activation="tanh")(x))


def unet(width: int = 32) -> keras.Model:
    """The segmentation network of arXiv:1505.04597, for pictures of any size."""
    x = inputs = keras.Input([None, None, 3])
    skipped = []
    for channels in (width, 2 * width, 4 * width):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        skipped.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(8 * width, 3, padding="same", activation="relu")(x)
    for skip in reversed(skipped):
        up = layers.Conv2DTranspose(skip.shape[-1], 2, 2, "same", activation="relu")(x)
        x = layers.Concatenate()([up, skip])
        x = layers.Conv2D(skip.shape[-1], 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


def vocoder(width: int = 128) -> keras.Model:
    """The upsampling path of HiFi-GAN, arXiv:2010.05646: 80 mel bands to 256 samples per frame."""
    x = inputs = keras.Input([None, 80])
    x = layers.Conv1D(width, 7, padding="same")(x)
    for stride, taps in ((8, 16), (8, 16), (2, 4), (2, 4)):
        width //= 2
        x = layers.LeakyReLU(negative_slope=0.1)(x)
        x = layers.Conv1DTranspose(width, taps, stride, "same")(x)
        x = layers.Add()([x, layers.Conv1D(width, 3, padding="same", activation="relu")(x)])
    return keras.Model(inputs, layers.Conv1D(1, 7, padding="same", activation="tanh")(x))


MODELS = {"dcgan": dcgan, "unet": unet, "vocoder": vocoder}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, build in MODELS.items():
        keras.utils.set_random_seed(1)
        build().export(str(folder / name), verbose=False)
    assert "conv_transpose_nd" not in sys.modules
