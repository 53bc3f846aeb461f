"""3-D U-Net (arXiv:1606.06650), one level, learns to mark the ball in a noisy volume."""

import keras
import numpy as np

import conv_transpose_nd as ct


def balls(count, size=16, seed=0):
    """Noisy volumes with one ball each, and the masks of the balls."""
    random = np.random.default_rng(seed)
    axes = np.mgrid[:size, :size, :size]
    centre = random.uniform(5, size - 5, [3, count, 1, 1, 1])
    distance = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    masks = (distance < random.uniform(3, 5, [count, 1, 1, 1]) ** 2).astype("float32")
    volumes = masks + random.normal(0, 0.7, masks.shape)
    return volumes[..., None].astype("float32"), masks[..., None]


def unet3d(channels=8):
    """[batch, depth, height, width, 1], even lengths -> probabilities of the same shape."""

    def convolve(x, count):
        return keras.layers.Conv3D(count, 3, padding="same", activation="relu")(x)

    inputs = keras.Input([None, None, None, 1])
    skip = convolve(inputs, channels)
    x = convolve(keras.layers.MaxPooling3D()(skip), 2 * channels)
    # 2 x 2 x 2 with stride 2, as in the paper.
    x = ct.keras.layers.Conv3DTranspose(2 * channels, 2, strides=2, activation="relu")(x)
    x = convolve(keras.layers.Concatenate()([skip, x]), channels)
    return keras.Model(inputs, keras.layers.Conv3D(1, 1, activation="sigmoid")(x))


def train(model, epochs=4):
    """The losses of the epochs."""
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model.fit(*balls(64), batch_size=8, epochs=epochs, verbose=0).history["loss"]


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    print("loss:", " ".join(f"{loss:.3f}" for loss in train(unet3d())))
