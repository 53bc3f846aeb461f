"""The rows of README's first table for Keras and PyTorch: one small call each, in a dtype."""

import keras
import numpy as np
import tensorflow as tf

FORMATS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
DTYPES = ("float16", "bfloat16", "float32", "float64")


def keras_call(dtype, rank=2, channels=2, first=False, padding="same", filters=4, **options):
    """Stride 2, from length 5 to 10, to 4 channels, through keras.ops."""
    spatial = [5] * rank
    shape = [1, channels, *spatial] if first else [1, *spatial, channels]
    kernel = tf.ones([3] * rank + [filters, channels], dtype)
    data_format = "channels_first" if first else "channels_last"
    y = keras.ops.conv_transpose(
        tf.ones(shape, dtype), kernel, 2, padding, data_format=data_format, **options
    )
    assert y.shape[1 if first else -1] == 4
    return y


def keras_fused(dtype):
    """Counts what the graph has beside the convolution: fused, there would be nothing."""
    layer = keras.layers.Conv2DTranspose(4, 3, activation="gelu", dtype=dtype)
    function = tf.function(layer).get_concrete_function(tf.ones([1, 4, 4, 2], dtype))
    kinds = {op.type for op in function.graph.get_operations()}
    if kinds & {"BiasAdd", "AddV2", "Erf", "Mul"}:
        raise NotImplementedError("bias and activation are ops of their own")


def keras_third_gradient(dtype):
    """Of the fourth power of the output."""
    x = tf.ones([1, 3, 3, 2], dtype)
    with tf.GradientTape() as c:
        c.watch(x)
        with tf.GradientTape() as b:
            b.watch(x)
            with tf.GradientTape() as a:
                a.watch(x)
                y = keras.ops.conv_transpose(x, tf.ones([2, 2, 1, 2], dtype), 2) ** 4
            first = a.gradient(y, x)
        second = b.gradient(first, x)
    np.testing.assert_allclose(c.gradient(second, x), 4 * 24 * 2 * 4)


KERAS = {
    "1 to 3 spatial axes": lambda t: [keras_call(t, n) for n in (1, 2, 3)],
    "4 to 6 spatial axes": lambda t: keras_call(t, 4),
    "half, bfloat16, float32, float64": lambda _: [
        keras_call(t, n) for t in DTYPES for n in (1, 2, 3)
    ],
    "int32, 3-D": lambda _: keras_call("int32", 3),
    "channels first": lambda t: [keras_call(t, n, first=True) for n in (1, 2, 3)],
    "dilations > 1": lambda t: [keras_call(t, n, dilation_rate=2) for n in (1, 2, 3)],
    "groups > 1": lambda t: keras.layers.Conv2DTranspose(4, 3, groups=2, dtype=t)(
        tf.ones([1, 4, 4, 2], t)
    ),
    "padding of two different ends, 2-D": lambda t: keras_call(t, padding=[[1, 0], [1, 0]]),
    "padding of two different ends, 1-D and 3-D": lambda t: keras_call(t, 1, padding=[[1, 0]]),
    "output_padding, inferred output_shape": lambda t: keras_call(t, output_padding=1),
    "bias and activation in the op": keras_fused,
    "gradients of first, second and third order": keras_third_gradient,
}


def torch_call(dtype, rank=2, channels=2, filters=4, **options):
    """Stride 2, through torch.nn.functional; channels are always second."""
    import torch

    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    x = torch.ones([1, channels, *[5] * rank], dtype=getattr(torch, dtype))
    weight = torch.ones([channels, filters, *[3] * rank], dtype=x.dtype)
    return function(x, weight, stride=2, **options)


def torch_third_gradient(dtype):
    """Of the fourth power of the output."""
    import torch

    x = torch.ones([1, 2, 3, 3], dtype=getattr(torch, dtype), requires_grad=True)
    y = torch.nn.functional.conv_transpose2d(x, torch.ones([2, 1, 2, 2], dtype=x.dtype), stride=2)
    value = (y**4).sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        value = gradient.sum()
    np.testing.assert_allclose(gradient.detach(), 4 * 24 * 2 * 4)


PYTORCH = {
    "1 to 3 spatial axes": lambda t: [torch_call(t, n) for n in (1, 2, 3)],
    "4 to 6 spatial axes": lambda t: torch_call(t, 4),
    "half, bfloat16, float32, float64": lambda _: [
        torch_call(t, n) for t in DTYPES for n in (1, 2, 3)
    ],
    "int32, 3-D": lambda _: torch_call("int32", 3),
    "channels first": lambda t: torch_call(t),
    "dilations > 1": lambda t: [torch_call(t, n, dilation=2) for n in (1, 2, 3)],
    "groups > 1": lambda t: [torch_call(t, n, filters=2, groups=2) for n in (1, 2, 3)],
    "padding of two different ends, 2-D": lambda t: torch_call(t, padding=((1, 0), (1, 0))),
    "padding of two different ends, 1-D and 3-D": lambda t: torch_call(t, 1, padding=((1, 0),)),
    "output_padding, inferred output_shape": lambda t: torch_call(t, output_padding=1),
    "bias and activation in the op": lambda t: torch_call(t, activation="gelu"),
    "gradients of first, second and third order": torch_third_gradient,
}
