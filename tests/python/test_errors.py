"""Words of the errors that the Python functions raise themselves, before the op is called."""

import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct

X, W, SHAPE = np.ones([1, 4, 4, 3], "f"), np.ones([3, 3, 2, 3], "f"), [1, 8, 8, 2]


def call(input=X, filters=W, output_shape=SHAPE, strides=2, **more):
    return ct.conv_transpose_nd(input, filters, output_shape, strides, **more)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input": None}, ValueError, "input must be a tensor, got None"),
        ({"filters": None}, ValueError, "filters must be a tensor, got None"),
        ({"input": X.astype("q"), "filters": W.astype("q")}, ValueError,
         "input must have one of the dtypes float16, .* got int64"),
        ({"input": X.astype(np.complex64), "filters": W.astype(np.complex64)}, ValueError,
         "got complex64"),
        ({"input": tf.constant(X), "filters": tf.constant(W, tf.float64)}, ValueError,
         "filters must have the dtype of input, float32, got float64"),
        ({"input": tf.Variable(X, dtype=tf.float16), "filters": tf.Variable(W)}, ValueError,
         "filters must have the dtype of input, float16, got float32"),
        ({"input": tf.ragged.constant([[1.0], [2.0, 3.0]])}, ValueError,
         "input must be a dense tensor, got a RaggedTensor"),
        ({"filters": tf.sparse.from_dense(W)}, ValueError,
         "filters must be a dense tensor, got a SparseTensor"),
        ({"bias": tf.constant([1.0, 2.0], tf.float64)}, ValueError,
         "bias must have the dtype of input, float32, got float64"),
        ({"bias": [1.0, 2.0, 3.0]}, tf.errors.InvalidArgumentError,
         "bias must have out_channels 2 values, got 3"),
        ({"output_shape": []}, ValueError, "output_shape must have N.2 values, or be None"),
        ({"output_shape": 8}, ValueError, "output_shape must have rank 1, got rank 0$"),
        ({"output_shape": "1882"}, ValueError, "output_shape must be a tensor or a sequence"),
        ({"output_shape": [1, 8, 8.0, 2.5]}, TypeError,
         r"output_shape\[3\] must be an integer, got 2.5"),
        ({"output_shape": [1, None, 8, 2]}, TypeError,
         r"output_shape\[1\] must be an integer, got None"),
        ({"output_shape": [[1, 8], [8, 2]]}, ValueError,
         "output_shape must have rank 1, got rank 2"),
        ({"output_shape": tf.constant([1.0, 8.0, 8.0, 2.0])}, ValueError,
         "output_shape must be int32 or int64, got float32"),
        ({"output_shape": [tf.constant(1.0), 8, 8, 2]}, TypeError,
         "output_shape must hold int32 or int64"),
        ({"output_shape": [1, 2**70, 8, 2]}, ValueError, "output_shape must hold .* below 2.63"),
        ({"output_shape": [1, 2**31, 8, 2]}, tf.errors.InvalidArgumentError,
         r"output_shape\[1\] must be in \[7, 8\] .* got 2147483648"),
        ({"output_shape": tf.TensorShape([1, None, 8, 2])}, ValueError,
         r"output_shape must be fully known, got \(1, None, 8, 2\)"),
        ({"output_shape": [1, -8, 8, 2]}, ValueError, r"output_shape\[1\] must be >= 0, got -8"),
        ({"strides": [1, 2]}, tf.errors.InvalidArgumentError,
         r"output_shape\[1\] must be 4 for input length 4"),
        ({"strides": [2] * 3}, ValueError, "strides must be an int or have 1, 2 or 4 values"),
        ({"dilations": 1.5}, TypeError, "dilations must be an integer, got 1.5"),
        ({"padding": "same"}, ValueError, "padding must be 'SAME', .* got 'same'"),
        ({"data_format": "HWNC"}, ValueError, "data_format must be None, .* got 'HWNC'"),
        ({"groups": "2"}, TypeError, "groups must be an integer, got '2'"),
        ({"activation": "swish"}, ValueError, "activation must be None or one of .* got 'swish'"),
        ({"input": X[0]}, ValueError, r"filters must have rank 3 \(input's\), got rank 4"),
        ({"input": X[0, 0], "filters": W[0, 0]}, ValueError,
         "input must have rank 3 to 8, got rank 2"),
        ({"output_padding": 1}, tf.errors.InvalidArgumentError,
         "output_padding must be empty where output_shape is given"),
    ],
)  # fmt: skip
def test_words(arguments, error, words):
    with pytest.raises(error, match=words):
        call(**arguments)


@pytest.mark.parametrize("activation", ["elu", "gelu", "sigmoid"])
def test_activation_of_integers(activation):
    with pytest.raises(tf.errors.InvalidArgumentError, match="activation must be none, relu or"):
        call(X.astype("i"), W.astype("i"), activation=activation)


@pytest.mark.parametrize(
    ("function", "rank"),
    [
        (ct.nn.conv1d_transpose, 1),
        (ct.nn.conv3d_transpose, 3),
        (ct.compat.v1.nn.conv3d_transpose, 3),
    ],
)
def test_functions_of_one_rank(function, rank):
    words = f"input must have rank {rank + 2} in conv{rank}d_transpose, got 4"
    with pytest.raises(ValueError, match=words):
        function(X, W, SHAPE, 2)


@pytest.mark.parametrize("function", ["conv2d_transpose", "conv3d_transpose"])
def test_aliases_as_tensorflow(function):
    ours, stock = (getattr(m.nn, function) for m in (ct.compat.v1, tf.compat.v1))
    for wrong in ({"input": X}, {"filters": W}):
        messages = []
        for one in (ours, stock):
            with pytest.raises(ValueError, match="Cannot specify both") as caught:
                one(X, W, SHAPE, 2, **wrong)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    with pytest.raises(ValueError, match="'filter' or 'filters' must be given, got None for both"):
        ours(X, None, SHAPE, 2)
    with pytest.raises(ValueError, match="'value' or 'input' must be given, got None for both"):
        ours(None, W, SHAPE, 2)


def test_constant_tensor_in_a_graph():
    """TensorFlow would report it first, without saying which argument is meant."""
    with (
        tf.Graph().as_default(),
        pytest.raises(ValueError, match=r"output_shape\[2\] must be >= 0, got -8"),
    ):
        call(output_shape=tf.constant([1, 8, -8, 2]))


def test_symbolic_strides():
    @tf.function
    def function(strides):
        return call(strides=strides)

    with pytest.raises(TypeError, match="strides must be known when the op is created"):
        function(tf.constant(2))


def test_unknown_rank_that_nothing_tells():
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)])
    def function(x, w):
        return ct.conv_transpose_nd(x, w, strides=2)

    with pytest.raises(ValueError, match="the number of spatial axes must be known"):
        function(X, W)
