"""Calls inside a tf.function that AutoGraph converts."""

import logging

import pytest
import tensorflow as tf

import conv_transpose_nd as ct


@pytest.mark.parametrize(
    "function",
    [ct.conv_transpose_nd, ct.nn.conv2d_transpose, ct.compat.v1.nn.conv2d_transpose],
    ids=lambda function: function.__name__,
)
def test_autograph_has_nothing_to_complain_about(function):
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    try:

        @tf.function
        def traced(input, filters):
            if tf.reduce_sum(input) > 0:
                return function(input, filters, [1, 8, 8, 3], strides=2)
            return function(-input, filters, [1, 8, 8, 3], strides=2)

        output = traced(tf.ones([1, 4, 4, 2]), tf.ones([3, 3, 3, 2]))
    finally:
        logger.removeHandler(handler)
    assert output.shape == (1, 8, 8, 3)
    assert [m for m in messages if "AutoGraph" in m] == []
