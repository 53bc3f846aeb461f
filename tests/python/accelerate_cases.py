"""What the tests of `ct.saved_model` share: reading SavedModels, and calls of stock TensorFlow."""

import hashlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

MODELS = ("dcgan", "unet", "vocoder")
QUICK = {"seconds": 0.0, "report": lambda line: None}
STOCK = {"Conv2DBackpropInput", "Conv3DBackpropInputV2"}


def message(folder):
    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def nodes(folder):
    graph = message(folder).meta_graphs[0].graph_def
    return [*graph.node, *(n for f in graph.library.function for n in f.node_def)]


def ops(folder):
    return {node.op for node in nodes(folder)}


def digest(folder):
    """Names and contents of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(f.relative_to(folder), hashlib.sha256(f.read_bytes()).digest()) for f in files]


def close(a, b, terms, largest=1.0):
    """Within the roundings of `terms` products, each side's own, of numbers below `largest`."""
    np.testing.assert_allclose(a, b, rtol=0, atol=2 * terms * 2.0**-24 * largest)


# What is said of each function of Forms.
WHAT = {
    "channels_first": "ConvTransposeND, 2-D, bias, relu6, constant filter",
    "three_axes": "ConvTransposeND, 3-D, bias, elu, constant filter",
    "one_axis": "ConvTransposeND, 1-D, bias, sigmoid, constant filter",
    "one_axis_first": "ConvTransposeND, 1-D, constant filter",
    "one_axis_by_hand": "ConvTransposeND, 1-D, bias, relu, constant filter",
    "dynamic": "ConvTransposeND, 2-D, filter that may change",
    "explicit": "ConvTransposeND, 2-D, gelu, constant filter",
    "gelu_tanh": "ConvTransposeND, 2-D, bias, gelu_tanh, constant filter",
    "swish": "ConvTransposeND, 2-D, bias, silu, constant filter",
    "added": "ConvTransposeND, 2-D, bias, leaky_relu, constant filter",
    "grouped": "ConvTransposeND, 2-D, groups 2, constant filter",
    "steeper": "ConvTransposeND, 2-D, bias, constant filter",
    "read_twice": "ConvTransposeND, 2-D, constant filter",
    "unit_height": "ConvTransposeND, 2-D, constant filter",
    "while_loop": "ConvTransposeND, 1-D, constant filter",
}


class Forms(tf.Module):
    """Stock calls that the rewrite must see through, and what it says of each."""

    def __init__(self):
        super().__init__()
        self.filters = tf.Variable(self.array(3, 3, 4, 3))

    @staticmethod
    def array(*shape):
        return np.random.default_rng(5).standard_normal(shape).astype("f")

    def spec(*shape):
        return tf.function(input_signature=[tf.TensorSpec(shape)], autograph=False)

    @spec(None, 3, None, None)
    def channels_first(self, x):
        n, _, h, w = tf.unstack(tf.shape(x))
        shape = tf.stack([n, 4, 2 * h, 3 * w])
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), shape, [2, 3], data_format="NCHW")
        return tf.nn.relu6(tf.nn.bias_add(y, self.array(4), "NCHW"))

    @spec(None, None, None, None, 3)
    def three_axes(self, x):
        shape = tf.shape(x) * [1, 2, 1, 3, 0] + [0, 0, 0, 0, 4]
        y = tf.nn.conv3d_transpose(x, self.array(2, 3, 2, 4, 3), shape, [2, 1, 3])
        return tf.nn.elu(tf.nn.bias_add(y, self.array(4)))

    @spec(None, None, 3)
    def one_axis(self, x):
        shape = tf.shape(x) * [1, 2, 0] + [0, 1, 4]
        y = tf.nn.conv1d_transpose(x, self.array(3, 4, 3), shape, 2, "VALID")
        return tf.sigmoid(tf.nn.bias_add(y, self.array(4)))

    @spec(2, 3, 5)
    def one_axis_first(self, x):
        return tf.nn.conv1d_transpose(x, self.array(3, 4, 3), [2, 4, 10], 2, data_format="NCW")

    @spec(2, 5, 3)
    def one_axis_by_hand(self, x):
        """The unit axis behind the other one, put in and taken out by tf.reshape."""
        filters = self.array(3, 1, 4, 3)
        x = tf.reshape(x, [2, 5, 1, 3])
        y = tf.nn.conv2d_transpose(
            x, tf.reshape(filters[:, 0], [3, 1, 4, 3]), [2, 10, 1, 4], [2, 1]
        )
        return tf.reshape(tf.nn.relu(tf.nn.bias_add(y, self.array(4))), [2, 10, 4])

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([4], "int32")]
    )
    def dynamic(self, x, output_shape):
        return tf.nn.conv2d_transpose(x, self.filters, output_shape, 2)

    @spec(2, 6, 6, 3)
    def explicit(self, x):
        pads = [[0, 0], [1, 2], [0, 1], [0, 0]]
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 10, 12, 4], 2, pads)
        return tf.nn.gelu(y)

    @spec(2, 6, 6, 3)
    def gelu_tanh(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.gelu(tf.nn.bias_add(y, self.array(4)), approximate=True)

    @spec(2, 6, 6, 3)
    def swish(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.silu(tf.nn.bias_add(y, self.array(4)))

    @spec(2, 6, 6, 3)
    def added(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.leaky_relu(self.array(4) + y)

    @spec(2, 6, 6, 4)
    def grouped(self, x):
        return tf.nn.conv2d_transpose(x, self.array(3, 3, 2, 4), [2, 12, 12, 4], 2)

    @spec(2, 6, 6, 3)
    def steeper(self, x):
        """Not the op's leaky_relu, and a near miss: its slope is 0.1."""
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.leaky_relu(tf.nn.bias_add(y, self.array(4)), 0.1)

    @spec(2, 6, 6, 3)
    def read_twice(self, x):
        y = tf.nn.conv2d_transpose(x, self.array(3, 3, 4, 3), [2, 12, 12, 4], 2)
        return tf.nn.relu(tf.nn.bias_add(y, self.array(4))) + y

    @spec(2, 5, 3)
    def unit_height(self, x):
        """Without anybody who takes the unit axis out again."""
        return tf.nn.conv2d_transpose(x[:, None], self.array(1, 3, 4, 3), [2, 1, 10, 4], [1, 2])

    @spec(2, 5, 3)
    def while_loop(self, x):
        def longer(i, y):
            shape = tf.stack([2, 2 * tf.shape(y)[1], 3])
            return i + 1, tf.nn.conv1d_transpose(y, self.array(3, 3, 3), shape, 2)

        invariants = [tf.TensorShape([]), tf.TensorShape([2, None, 3])]
        return tf.while_loop(lambda i, y: i < 2, longer, [0, x], invariants)[1]


# Random values are no output_shape.
INPUTS = {"dynamic": [Forms.array(2, 5, 5, 3), [2, 9, 10, 4]]}
SHAPES = {"one_axis": [2, 5, 3], "three_axes": [2, 3, 4, 2, 3], "channels_first": [2, 3, 5, 4]}
