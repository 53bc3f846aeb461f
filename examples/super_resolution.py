"""Super-resolution that starts without a checkerboard: ICNR (arXiv:1707.02937), then training.

`make demo` trains FSRCNN on photographs; this is the smallest network that learns something.
"""

import keras
import numpy as np

import conv_transpose_nd as ct

SCALE = 2


def waves(count, size=32, seed=0):
    """Small pictures, and the large ones of which each of their pixels is the mean of four."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size * 2 * np.pi
    fy, fx = random.uniform(1, 4, [2, count, 3, 1, 1])
    large = np.sin(fy * y + fx * x + random.uniform(0, 6, [count, 3, 1, 1])).mean(1)
    small = large.reshape(count, size // SCALE, SCALE, size // SCALE, SCALE).mean((2, 4))
    return small[..., None].astype("float32"), large[..., None].astype("float32")


def network():
    """[batch, height, width, 1] -> [batch, 2 * height, 2 * width, 1]."""
    start = ct.keras.initializers.ICNR("he_normal", SCALE)
    return keras.Sequential(
        [
            keras.Input([None, None, 1]),
            keras.layers.Conv2D(16, 5, padding="same", activation="relu"),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            ct.keras.layers.Conv2DTranspose(1, 6, SCALE, "same", kernel_initializer=start),
        ]
    )


def checkerboard(model):
    """How much neighbouring pixels differ where the input is constant; 0 is none."""
    flat = model.predict(np.ones([1, 16, 16, 1], "float32"), verbose=0)[0, 10:-10, 10:-10, 0]
    return float(np.ptp(flat) / np.abs(flat).max())


def psnr(picture, truth):
    """Decibels above the mean squared error, for a range of 2."""
    return 10 * np.log10(4 / np.mean((picture - truth) ** 2))


def train(model, epochs=12):
    """Trains on waves, and returns the PSNR on new ones: the model's, and that of repeating."""
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(*waves(128), batch_size=16, epochs=epochs, verbose=0)
    small, large = waves(32, seed=1)
    repeated = small.repeat(SCALE, 1).repeat(SCALE, 2)
    return psnr(model.predict(small, verbose=0), large), psnr(repeated, large)


if __name__ == "__main__":
    print("checkerboard before training:", checkerboard(model := network()))
    print("PSNR in dB, trained and by repeating: {:.1f} {:.1f}".format(*train(model)))
