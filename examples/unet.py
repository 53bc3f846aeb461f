"""U-Net (arXiv:1505.04597), two levels, learns to mark the bright disc of a noisy picture."""

import keras
import numpy as np

import conv_transpose_nd as ct


def discs(count, size=32, seed=0):
    """Noisy pictures with one disc each, and the masks of the discs."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centre = random.uniform(8, size - 8, [2, count, 1, 1])
    radius = random.uniform(4, 8, [count, 1, 1])
    masks = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2).astype("float32")
    pictures = masks + random.normal(0, 0.7, masks.shape)
    return pictures[..., None].astype("float32"), masks[..., None]


def unet(channels=8, levels=2):
    """Any height and width that 2 ** levels divides."""

    def pair(x, count):
        for _ in range(2):
            x = keras.layers.Conv2D(count, 3, padding="same", activation="relu")(x)
        return x

    inputs = keras.Input([None, None, 1])
    x, skips = inputs, []
    for level in range(levels):
        x = pair(x, channels << level)
        skips.append(x)
        x = keras.layers.MaxPooling2D()(x)
    x = pair(x, channels << levels)
    for level in reversed(range(levels)):
        # The up-convolution of the paper; bias and activation in the same pass.
        x = ct.keras.layers.Conv2DTranspose(channels << level, 2, strides=2, activation="relu")(x)
        x = pair(keras.layers.Concatenate()([skips[level], x]), channels << level)
    return keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))


def overlap(model, pictures, masks):
    """Intersection over union of the marked pixels."""
    marked = model.predict(pictures, verbose=0) > 0.5
    return np.logical_and(marked, masks).sum() / np.logical_or(marked, masks).sum()


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    model = unet()
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    model.fit(*discs(256), batch_size=16, epochs=6, verbose=0)
    print(f"intersection over union on new pictures: {overlap(model, *discs(32, seed=1)):.2f}")
