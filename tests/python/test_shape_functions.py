"""What is known of the output's shape while tracing, and what is found wrong by then."""

import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd._library import library


def traced_shape(function, *shapes, dtypes=()):
    """Static shape of `function` of tensors with these static shapes."""
    dtypes = [*dtypes, *[tf.float32] * (len(shapes) - len(dtypes))]
    specs = [tf.TensorSpec(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    return concrete.structured_outputs.shape


def as_list(shape):
    return shape.as_list() if shape.rank is not None else None


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "arguments", "expected"),
    [
        ([None, 4, 5, 3], [3, 3, 2, 3], {"strides": 2}, [None, 8, 10, 2]),
        ([7, None, 5, 3], [3, 3, 2, 3], {"strides": 2}, [7, None, 10, 2]),
        ([7, 4, 5, None], [3, 3, 2, 3], {"strides": 2}, [7, 8, 10, 2]),
        ([7, 4, 5, 3], [3, 3, None, 3], {"strides": 2}, [7, 8, 10, None]),
        ([7, 4, 5, 3], [None, 3, 2, 3], {"strides": 2}, [7, 8, 10, 2]),
        ([7, 4, 5, 3], [None, 3, 2, 3], {"strides": 2, "padding": "VALID"}, [7, None, 11, 2]),
        ([7, 4, 5, 3], [None] * 4, {"padding": "VALID"}, [7, None, None, None]),
        (None, [3, 3, 2, 3], {}, [None, None, None, 2]),
        ([7, 4, 5, 3], None, {"strides": 2}, [7, 8, 10, None]),
        ([None] * 4, [None] * 4, {}, [None] * 4),
        (None, None, {"data_format": "NHWC"}, [None] * 4),
        ([None, 3, 4, 5], [3, 3, 2, 3], {"data_format": "NC"}, [None, 2, 4, 5]),
        ([None, 4, 3], [3, 2, 3], {"output_padding": 1, "strides": 2}, [None, 8, 2]),
        ([None, 4, 6], [3, 2, 6], {"groups": 3}, [None, 4, 6]),
        ([None, *[2] * 6, 1], [*[2] * 6, 3, 1], {}, [None, *[2] * 6, 3]),
        # More than 2^31 elements, and lengths of more than 2^31.
        ([1, 2**17, 2**17, 1], [2, 2, 4, 1], {"strides": 2}, [1, 2**18, 2**18, 4]),
        ([0, 2**20, 1], [1, 1, 1], {"strides": 2**20}, [0, 2**40, 1]),
    ],
)
def test_inferred(x_shape, w_shape, arguments, expected):
    found = traced_shape(lambda x, w: ct.conv_transpose_nd(x, w, **arguments), x_shape, w_shape)
    assert as_list(found) == expected


def test_stacked_output_shape():
    def function(x, w):
        s = tf.shape(x)
        return ct.conv_transpose_nd(x, w, tf.stack([s[0], s[1] * 2, 20, 8]), strides=2)

    assert as_list(traced_shape(function, [None, None, 10, 4], [3, 3, 8, 4])) == [
        *(None, None, 20, 8)
    ]


def test_list_with_tensors():
    def function(x, w):
        return ct.nn.conv2d_transpose(x, w, [tf.shape(x)[0], 20, 20, 8], 2)

    assert as_list(traced_shape(function, [None, 10, 10, 4], [3, 3, 8, 4])) == [None, 20, 20, 8]


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_opaque_output_shape(dtype):
    def function(shape, x, w):
        return ct.conv_transpose_nd(x, w, shape, strides=2)

    def found(shape, *operands):
        return as_list(traced_shape(function, shape, *operands, dtypes=[dtype]))

    operands = [7, None, None, 4], [3, 3, 8, 4]
    assert found([4], *operands) == [7, None, None, 8]
    # Of unknown length it may be empty, too: then the op infers. Both say this much.
    assert found([None], *operands) == [7, None, None, 8]
    assert found(None, *operands) == [7, None, None, 8]
    assert found([4], None, None) == [None] * 4


def test_gradient_ops():
    arguments = {"strides": [1, 2, 2, 1], "padding": "SAME"}

    def input_grad(dy, w):
        return library.conv_transpose_nd_input_grad(output_grad=dy, filter=w, **arguments)

    def filter_grad(x, w, dy):
        return library.conv_transpose_nd_filter_grad(
            input=x, filter_shape=tf.shape(w), output_grad=dy, **arguments
        )

    assert as_list(traced_shape(input_grad, [None, 7, None, 2], [3, 3, 2, 5])) == [
        *(None, 4, None, 5)
    ]
    shapes = [None, 4, None, 5], [3, None, 2, 5], [None, 7, None, 2]
    assert as_list(traced_shape(filter_grad, *shapes)) == [3, None, 2, 5]


X, W = [2, 4, 4, 3], [3, 3, 2, 3]


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "output_shape", "arguments", "words"),
    [
        (X, W, [3, 8, 8, 2], {}, r"output_shape\[0\] must equal the batch of input 2, got 3"),
        (X, W, [2, 8, 9, 2], {}, r"output_shape\[2\] must be in \[7, 8\] .* got 9"),
        (X, W, [2, 8, 8, 5], {}, r"output_shape\[3\] must equal out_channels"),
        (X, W, [2, 8, 2], {}, r"output_shape must have 4 values.*got 3"),
        ([None, 4, None, 3], W, [9, 9, 8, 2], {}, r"output_shape\[1\] must be in \[7, 8\].*got 9"),
        ([None, None, None, 3], W, [2, 9, 9, 5], {}, r"output_shape\[3\] must equal out_channels"),
        (X, [None, None, 2, 4], [2, 8, 8, 2], {}, r"filter\[3\] .* equal input\[3\] = 3, got 4"),
        ([None, 4, 4, None], W, None, {"groups": 2}, "groups must divide in_channels 3, got 2"),
        ([None, 4, 4, 3], W, None, {"bias": [1.0]}, "bias must have out_channels 2 values, got 1"),
        (None, W, [2, 8, 8, 2], {"strides": 0}, r"strides\[1\] must be >= 1, got 0"),
        (None, None, [2, 8, 8, 2], {"dilations": -1}, r"dilations\[1\] must be >= 1, got -1"),
        ([None, None, None, 3], W, None, {"output_padding": 5}, r"output_padding.* be < stride 2"),
    ],
)  # fmt: skip
def test_contradictions_while_tracing(x_shape, w_shape, output_shape, arguments, words):
    def function(x, w):
        return ct.conv_transpose_nd(x, w, output_shape, **({"strides": 2} | arguments))

    with pytest.raises(ValueError, match=words):
        traced_shape(function, x_shape, w_shape)


def test_contradiction_of_what_is_computed():
    def function(x, w):
        return ct.conv_transpose_nd(x, w, tf.stack([tf.shape(x)[0], 9, 8, 2]), strides=2)

    with pytest.raises(ValueError, match=r"output_shape\[1\] must be in \[7, 8\] .* got 9"):
        traced_shape(function, [None, 4, 4, 3], W)


def test_static_and_actual_shape_agree():
    """A shape function that promises what the kernel does not keep would break later ops."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([4, 3, 4])])
    def function(x, w):
        y = ct.conv_transpose_nd(x, w, strides=3, padding="VALID")
        assert as_list(y.shape) == [None, None, 3]
        return y, tf.shape(y)

    for n in (0, 1, 5):
        y, shape = function(tf.ones([2, n, 4]), tf.ones([4, 3, 4]))
        length = (n - 1) * 3 + 4
        assert y.shape == shape.numpy().tolist() == [2, length, 3]
