"""Inputs that broke other implementations, through Keras' and TensorFlow 1's interfaces.

In a process of its own, so that an abort is seen. The ops themselves: test_advisories.py.
"""

import json
import re

import pytest

CODE = """
import json
import numpy as np, tensorflow as tf
import conv_transpose_nd as ct
layers, convolve, v1 = ct.keras.layers, ct.keras.ops.conv_transpose, ct.compat.v1

def ones(*shape):
    return np.ones(shape, "f")

volume, image = ones(1, 32, 32, 0, 3), ones(1, 4, 4, 3)
layer = layers.Conv3DTranspose(4, 3, strides=2, padding="same")
# name: call
CALLS = {
    "layer, zero length": lambda: layer(volume),
    "layer, zero length, traced": lambda: tf.function(layer)(volume),
    "layer, zero length, VALID": lambda: layers.Conv3DTranspose(4, 3, 2)(volume),
    "layer, empty batch": lambda: layers.Conv2DTranspose(4, 3, 2)(image[:0]),
    "layer, rank 1": lambda: layers.Conv2DTranspose(4, 3)(ones(4)),
    "keras.ops, zero taps": lambda: convolve(image, ones(0, 3, 4, 3), 2, "same"),
    "keras.ops, no channels": lambda: convolve(image[..., :0], ones(3, 3, 4, 0), 2, "same"),
    "keras.ops, input of rank 1": lambda: convolve(ones(4), ones(3, 3, 4, 1), 2, "same"),
    "keras.ops, filter of rank 0": lambda: convolve(image, ones(), 2, "same"),
    "v1, negative": lambda: v1.nn.conv2d_transpose(image, ones(3, 3, 2, 3), [1, -8, 8, 2], 2),
    "v1, empty batch": lambda: v1.nn.conv2d_transpose(
        image[:0], ones(3, 3, 2, 3), [0, 8, 8, 2], 2),
    "v1, zero length": lambda: v1.nn.conv3d_transpose(
        volume, ones(3, 3, 3, 2, 3), [1, 64, 64, 0, 2], 2),
    "v1, huge": lambda: v1.nn.conv3d_transpose(
        ones(1, 4, 4, 4, 3), ones(3, 3, 3, 2, 3), [1, 2**30, 2**30, 4, 2], 2),
    "v1 layer, zero length": lambda: v1.layers.Conv3DTranspose(4, 3, 2, "same")(volume),
}
for name, call in CALLS.items():
    try:
        outcome = list(call().shape)
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        outcome = str(error)
    print(json.dumps([name, outcome]), flush=True)
"""
EXPECTED = {
    "layer, zero length": [1, 64, 64, 0, 4],
    "layer, zero length, traced": [1, 64, 64, 0, 4],
    "layer, zero length, VALID": [1, 65, 65, 1, 4],
    "layer, empty batch": [0, 9, 9, 4],
    "layer, rank 1": r"expected ndim=4, found ndim=1",
    "keras.ops, zero taps": [1, 8, 8, 4],
    "keras.ops, no channels": [1, 8, 8, 4],
    "keras.ops, input of rank 1": r"inputs must have rank N \+ 2 .* got shape \(4,\)",
    "keras.ops, filter of rank 0": r"kernel must have rank 4, .* got shape \(\)",
    "v1, negative": r"output_shape\[1\] must be >= 0, got -8",
    "v1, empty batch": [0, 8, 8, 2],
    "v1, zero length": [1, 64, 64, 0, 2],
    "v1, huge": r"output_shape must have at most 2\^56 elements, got more",
    "v1 layer, zero length": [1, 64, 64, 0, 4],
}


@pytest.fixture(scope="module")
def outcomes(run_python):
    return dict(map(json.loads, run_python(CODE).stdout.splitlines()))


@pytest.mark.parametrize("name", EXPECTED)
def test_hazard(outcomes, name):
    expected, outcome = EXPECTED[name], outcomes[name]
    if isinstance(expected, list):
        assert outcome == expected
    else:
        assert isinstance(outcome, str)
        assert re.search(expected, outcome), outcome


def test_every_call_has_an_outcome(outcomes):
    assert list(outcomes) == list(EXPECTED)
