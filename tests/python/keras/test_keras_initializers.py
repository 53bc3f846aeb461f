"""ICNR: equal phases, and an output without a pattern of the stride's period."""

import keras
import numpy as np
import pytest

import conv_transpose_nd as ct

ICNR = ct.keras.initializers.ICNR


def test_taps_are_copies_in_blocks():
    kernel = ICNR(keras.initializers.RandomNormal(seed=1), (2, 3))([4, 6, 5, 7], dtype="float32")
    kernel = np.asarray(kernel)
    assert kernel.shape == (4, 6, 5, 7)
    part = kernel[::2, ::3]
    assert np.array_equal(kernel, part.repeat(2, 0).repeat(3, 1))
    assert np.unique(part).size == part.size
    # The initializer sees the shape of one phase, and with it the fan of one phase.
    fixed = keras.initializers.GlorotUniform(seed=2)
    assert np.array_equal(ICNR(fixed, 2)([4, 5, 7])[::2], fixed([2, 5, 7]))


@pytest.mark.parametrize(("rank", "scale"), [(1, 3), (2, 2), (3, 2)])
def test_the_output_starts_as_a_nearest_neighbour_resize(rank, scale):
    rng = np.random.default_rng(3)
    x = rng.integers(-4, 5, [2, *range(3, 3 + rank), 3]).astype("f")

    def integers(shape, dtype=None):
        return keras.ops.convert_to_tensor(rng.integers(-4, 5, shape).astype(dtype or "f"))

    layer = ct.keras.layers.ConvTransposeND(
        rank, 2, 2 * scale, scale, kernel_initializer=ICNR(integers, scale)
    )
    y = np.asarray(layer(x))
    part = layer.get_weights()[0][(slice(None, None, scale),) * rank]
    expected = np.asarray(ct.keras.ops.conv_transpose(x, part))
    for axis in range(1, rank + 1):
        expected = expected.repeat(scale, axis)
    # Small integers: sums are exact.
    assert np.array_equal(y, expected)


def test_config_round_trip():
    for scale in (2, (2, 1)):
        icnr = ICNR("he_normal", scale)
        config = keras.initializers.serialize(icnr)
        again = keras.initializers.deserialize(config)
        assert isinstance(again, ICNR)
        assert again.scale == scale
        assert isinstance(again.initializer, keras.initializers.HeNormal)
        assert keras.initializers.serialize(again) == config


@pytest.mark.parametrize(
    ("scale", "error", "words"),
    [
        (0, ValueError, "scale must be >= 1, got 0"),
        ((2, -1), ValueError, r"scale\[1\] must be >= 1, got -1"),
        (1.5, TypeError, "scale must be an integer, got 1.5"),
        ((2, 2, 2), ValueError, "scale must be an int or have 2 values for a kernel of shape"),
        (3, ValueError, "length of spatial axis 0 must be a multiple of scale 3, got 4"),
    ],
)
def test_wrong_use(scale, error, words):
    with pytest.raises(error, match=words):
        ICNR("zeros", scale)([4, 4, 1, 1])
