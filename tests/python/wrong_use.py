"""Wrong calls of every entry point, by the argument that is wrong; for this package and for stock.

`python wrong_use.py` prints what the stock functions raise. With TF_ENABLE_ONEDNN_OPTS=0: else some
of these calls end the process.
"""

import json

import keras
import numpy as np
import tensorflow as tf


def _functions(rank, first="input", second="filters"):
    """Wrong arguments of tf.nn's and tf.compat.v1.nn's functions: (name, value) by argument."""
    x, w = np.ones([1, *[4] * rank, 3], "f"), np.ones([*[3] * rank, 2, 3], "f")
    shape = [1, *[8] * rank, 2]
    right = {first: x, second: w, "output_shape": shape, "strides": 2}
    wrong = [
        ("strides", 0),
        ("strides", "2"),
        ("strides", [1] * (rank + 4)),
        ("padding", "FULL"),
        ("data_format", "ABC"),
        ("dilations", 0),
        (first, x[0]),
        (second, w[0]),
        (second, w[..., :2]),
        (second, tf.constant(w, tf.float64)),
        ("output_shape", shape[:-1]),
        ("output_shape", [2, *shape[1:]]),
        ("output_shape", [*shape[:-1], 5]),
        ("output_shape", [1, 20, *shape[2:]]),
    ]
    return [(name, right | {first: tf.constant(x), name: value}) for name, value in wrong]


def _keras_function():
    x, w = np.ones([1, 4, 4, 3], "f"), np.ones([3, 3, 2, 3], "f")
    wrong = [
        ("strides", 0),
        ("strides", (1, 1, 1)),
        ("padding", "full"),
        ("data_format", "ABC"),
        ("dilation_rate", 0),
        ("output_padding", 5),
        ("kernel", w[..., :2]),
    ]
    return [(name, {"inputs": x, "kernel": w, "strides": 2, name: value}) for name, value in wrong]


def _keras_layer():
    wrong = [
        ("filters", 0),
        ("kernel_size", 0),
        ("kernel_size", (1, 2, 3)),
        ("strides", 0),
        ("padding", "causal"),
        ("output_padding", 2),
        ("data_format", "a"),
        ("dilation_rate", 0),
        ("activation", "nope"),
        ("kernel_initializer", "nope"),
        ("kernel_regularizer", "nope"),
        ("bias_constraint", "nope"),
    ]
    return [(name, {"filters": 2, "kernel_size": 3, name: value}) for name, value in wrong]


def _v1_layer():
    x = np.ones([1, 4, 4, 3], "f")
    wrong = [("kernel_size", 0), ("strides", 0), ("padding", "causal"), ("data_format", "a")]
    return [(n, {"inputs": x, "filters": 2, "kernel_size": 3, n: value}) for n, value in wrong]


# Entry point, by its path below `tf` (`keras`) and `ct`: wrong calls.
ENTRY_POINTS = {
    "nn.conv_transpose": _functions(2),
    "nn.conv1d_transpose": _functions(1),
    "nn.conv2d_transpose": _functions(2),
    "nn.conv3d_transpose": _functions(3),
    "compat.v1.nn.conv2d_transpose": _functions(2, "value", "filter"),
    "compat.v1.nn.conv3d_transpose": _functions(3, "value", "filter"),
    "keras.ops.conv_transpose": _keras_function(),
    "keras.layers.Conv2DTranspose": _keras_layer(),
    "keras.layers.Conv3DTranspose": [
        (name, call | {"kernel_size": 3} if name != "kernel_size" else call)
        for name, call in _keras_layer()
        if call["kernel_size"] != (1, 2, 3)
    ],
}
# TensorFlow's own refuse every call: "not available with Keras 3".
WITHOUT_STOCK = {"compat.v1.layers.conv2d_transpose": _v1_layer()}


def outcome(module, path, call):
    """(kind of error, its words) of one wrong call."""
    for part in path.split("."):
        module = getattr(module, part)
    try:
        module(**call)
    except TypeError as error:
        return "type", str(error)
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        return "value", str(error)
    except Exception as error:
        return type(error).__name__, str(error)
    return "none", ""


def main():
    stock = {}
    for path, calls in ENTRY_POINTS.items():
        module, below = (keras, path.removeprefix("keras.")) if path[:5] == "keras" else (tf, path)
        stock[path] = [outcome(module, below, call)[0] for _, call in calls]
    print(json.dumps(stock))


if __name__ == "__main__":
    main()
