"""One small call per row of README's table, for this op (`ours`) or for `tf.nn`."""

import numpy as np
import tensorflow as tf

import conv_transpose_nd as ct


def _dense(ours, dtype, rank, channels=2, first=False, **options):
    """Stride 2, from length 5 to 10, `channels` to 4 channels; a row's own options on top."""
    functions = {n: f"conv{n}d_transpose" for n in (1, 2, 3)}
    library = ct.nn if ours else tf.nn
    if options.pop("extended", False) and ours:
        function = ct.conv_transpose_nd
    elif rank in functions:
        function = getattr(library, functions[rank])
    else:
        function = ct.conv_transpose_nd if ours else tf.nn.conv_transpose
    spatial, large = [5] * rank, [10] * rank
    shape, output = (
        ([1, channels, *spatial], [1, 4, *large])
        if first
        else ([1, *spatial, channels], [1, *large, 4])
    )
    filters = tf.ones([3] * rank + [options.pop("filter_out", 4), channels], dtype)
    output = options.pop("output_shape", output)
    return function(tf.ones(shape, dtype), filters, output, 2, **options)


def _grouped(ours, dtype, rank):
    # TensorFlow deduces groups from the filter; the output's 4 channels are 2 per group.
    extension = {"extended": True, "groups": 2} if ours else {}
    return _dense(ours, dtype, rank, filter_out=2, **extension)


def _first(ours, dtype):
    formats = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
    return [_dense(ours, dtype, n, first=True, data_format=formats[n]) for n in (1, 2, 3)]


def _explicit(ours, dtype, rank):
    return _dense(ours, dtype, rank, padding=[[0, 0], *[[1, 0]] * rank, [0, 0]])


def _each(ours, *calls):
    """All calls must work for ours; for `tf.nn` each must fail, or none."""
    failures = [error for call in calls if (error := _error(call)) is not None]
    if failures and (ours or len(failures) == len(calls)):
        raise failures[0]
    assert not failures, f"{len(failures)} of {len(calls)} fail: the row must be split"


def _error(call):
    try:
        call()
    except Exception as error:
        return error
    return None


def _extensions(ours, dtype):
    _each(
        ours,
        lambda: _dense(ours, dtype, 2, extended=True, output_shape=None, output_padding=1),
        lambda: _dense(ours, dtype, 2, extended=True, output_shape=None),
    )


def _fused(ours, dtype):
    bias = tf.ones([4], dtype)
    return _dense(ours, dtype, 2, extended=True, bias=bias, activation="gelu")


def _dynamic(ours, dtype):
    function = (ct.nn if ours else tf.nn).conv2d_transpose

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2], dtype)])
    def enlarge(x):
        n, height, width = tf.unstack(tf.shape(x)[:3])
        filters = tf.ones([3, 3, 4, 2], dtype)
        return function(x, filters, tf.stack([n, 2 * height, 2 * width, 4]), 2)

    assert enlarge(tf.ones([3, 5, 7, 2], dtype)).shape == (3, 10, 14, 4)


def _long_output_shape(ours, dtype):
    return _dense(ours, dtype, 2, output_shape=tf.constant([1, 10, 10, 4], tf.int64))


def _third_gradient(ours, dtype):
    function = (ct.nn if ours else tf.nn).conv2d_transpose

    def derivative(inner):
        def outer(value):
            with tf.GradientTape() as tape:
                tape.watch(value)
                result = tf.reduce_sum(inner(value))
            return tape.gradient(result, value)

        return outer

    def fourth_power(v):
        return function(v, tf.ones([2, 2, 1, 2], dtype), [1, 6, 6, 1], 2) ** 4

    third = derivative(derivative(derivative(fourth_power)))(tf.ones([1, 3, 3, 2], dtype))
    # Each output is (v0 + v1)^4 and each v feeds 4 of them: 4 · 4·3·2 · (1 + 1) · 2², the factor 2²
    # from summing over both channels at the second and the third derivative.
    np.testing.assert_allclose(third, 4 * 24 * 2 * 4)


def _forward_mode(ours, dtype):
    x = tf.ones([2, 2, 2, 2], dtype)
    function = (ct.nn if ours else tf.nn).conv2d_transpose
    with tf.autodiff.ForwardAccumulator(x, x) as accumulator:
        y = function(x, tf.ones([2, 2, 1, 2], dtype), [2, 4, 4, 1], 2)
    np.testing.assert_allclose(accumulator.jvp(y), y)


def _mapped(ours, dtype):
    one = _doubling(ours, dtype)
    return tf.vectorized_map(one, tf.ones([3, 1, 2, 2, 2], dtype), fallback_to_while_loop=False)


def _compiled(ours, dtype):
    # An argument, not a constant, which would be folded before XLA sees the op.
    return tf.function(_doubling(ours, dtype), jit_compile=True)(tf.ones([1, 2, 2, 2], dtype))


def _doubling(ours, dtype):
    function = (ct.nn if ours else tf.nn).conv2d_transpose
    return lambda x: function(x, tf.ones([2, 2, 1, 2], dtype), [1, 4, 4, 1], 2)


ROWS = {
    "1 to 3 spatial axes": lambda ours, t: [_dense(ours, t, n) for n in (1, 2, 3)],
    "4 to 6 spatial axes": lambda ours, t: _each(
        ours, *(lambda n=n: _dense(ours, t, n) for n in (4, 5, 6))
    ),
    "half, bfloat16, float32, float64": lambda ours, _: [
        _dense(ours, t, n)
        for t in (tf.half, tf.bfloat16, tf.float32, tf.float64)
        for n in (1, 2, 3)
    ],
    "int32, 3-D": lambda ours, _: _dense(ours, tf.int32, 3),
    "channels first": _first,
    "dilations > 1": lambda ours, t: [_dense(ours, t, n, dilations=2) for n in (1, 2, 3)],
    "groups > 1": lambda ours, t: [_grouped(ours, t, n) for n in (1, 2, 3)],
    "padding of two different ends, 2-D": lambda ours, t: _explicit(ours, t, 2),
    "padding of two different ends, 1-D and 3-D": lambda ours, t: _each(
        ours, lambda: _explicit(ours, t, 1), lambda: _explicit(ours, t, 3)
    ),
    "output_padding, inferred output_shape": _extensions,
    "bias and activation in the op": _fused,
    "gradients of first, second and third order": _third_gradient,
    "output_shape computed in the graph, unknown batch and size": _dynamic,
    "int64 output_shape, 2-D": _long_output_shape,
    "forward-mode differentiation": _forward_mode,
    "`tf.vectorized_map` without its loop": _mapped,
    "`jit_compile=True` (XLA)": _compiled,
}
