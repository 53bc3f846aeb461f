"""Filter layouts of PyTorch and ONNX, against the definition that both give of the operation."""

import importlib.util
import itertools

import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import core

WEIGHTS = [
    (ct.weights.from_torch, ct.weights.to_torch),
    (ct.weights.from_onnx, ct.weights.to_onnx),
]


def by_definition(x, weight, strides, dilations, pads, groups):
    """[batch, in, spatial...] and [in, out / groups, spatial...]: the layouts of both."""
    per_group, taps = weight.shape[0] // groups, weight.shape[2:]
    out_per_group = weight.shape[1]
    lengths = [
        (n - 1) * s + (k - 1) * d + 1 - sum(p)
        for n, k, s, d, p in zip(x.shape[2:], taps, strides, dilations, pads, strict=True)
    ]
    y = np.zeros([x.shape[0], out_per_group * groups, *lengths])
    for i in itertools.product(*map(range, x.shape[2:])):
        for k in itertools.product(*map(range, taps)):
            o = [a * s + b * d - p[0]
                 for a, b, s, d, p in zip(i, k, strides, dilations, pads, strict=True)]  # fmt: skip
            if not all(0 <= position < n for position, n in zip(o, lengths, strict=True)):
                continue
            for g in range(groups):
                inputs = slice(g * per_group, (g + 1) * per_group)
                outputs = slice(g * out_per_group, (g + 1) * out_per_group)
                y[(slice(None), outputs, *o)] += (
                    x[(slice(None), inputs, *i)] @ weight[(inputs, slice(None), *k)]
                )
    return y


CASES = [(1, 1), (1, 3), (2, 1), (2, 2), (3, 2)]


def operands(rank, groups):
    rng = np.random.default_rng(rank)
    x = rng.integers(-4, 5, [2, 2 * groups, *range(3, 3 + rank)]).astype("f")
    weight = rng.integers(-4, 5, [2 * groups, 3, *range(2, 2 + rank)]).astype("f")
    steps = [2, 1, 3][:rank], [1, 2, 1][:rank]
    return x, weight, *steps, [(1, 1), (0, 1), (1, 0)][:rank]


@pytest.mark.parametrize(("convert", "back"), WEIGHTS, ids=["torch", "onnx"])
@pytest.mark.parametrize(("rank", "groups"), CASES)
def test_values(rank, groups, convert, back):
    x, weight, strides, dilations, pads = operands(rank, groups)
    filters = convert(weight, groups)
    assert filters.shape == (*weight.shape[2:], 3, 2 * groups)
    y = core.conv_transpose(
        x, filters, strides=strides, dilations=dilations, padding=pads, groups=groups,
        data_format="CHANNELS_FIRST",
    )  # fmt: skip
    # Sums of small integers are exact.
    assert np.array_equal(y, by_definition(x, weight, strides, dilations, pads, groups))
    again = back(filters, groups)
    assert np.array_equal(again, weight)
    assert again.flags.c_contiguous
    assert filters.flags.c_contiguous
    assert again.dtype == filters.dtype == weight.dtype


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize(("rank", "groups"), CASES)
def test_values_of_pytorch(rank, groups):
    import torch

    x, weight, strides, dilations, _ = operands(rank, groups)
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    tensor = torch.nn.Parameter(torch.from_numpy(weight))
    expected = function(
        torch.from_numpy(x), tensor, stride=strides, dilation=dilations, groups=groups, padding=1
    )
    y = core.conv_transpose(
        x, ct.weights.from_torch(tensor, groups), strides=strides, dilations=dilations,
        padding=[(1, 1)] * rank, groups=groups, data_format="CHANNELS_FIRST",
    )  # fmt: skip
    assert np.array_equal(y, expected.detach().numpy())
    half = ct.weights.from_torch(tensor.to(torch.bfloat16))
    assert half.dtype == "bfloat16"
    assert np.array_equal(half.astype("f"), ct.weights.from_torch(weight))


def test_tensors_and_variables():
    filters = tf.Variable(np.arange(24.0).reshape([2, 3, 4]))
    assert np.array_equal(ct.weights.to_torch(filters), filters.numpy().transpose(2, 1, 0))
    assert np.array_equal(ct.weights.from_torch(tf.constant([[[1.0, 2.0]]])), [[[1.0]], [[2.0]]])


@pytest.mark.parametrize(("convert", "back"), WEIGHTS, ids=["torch", "onnx"])
def test_errors(convert, back):
    with pytest.raises(ValueError, match=r"weight must have rank >= 3, got shape \(2, 3\)"):
        convert(np.ones([2, 3]))
    with pytest.raises(ValueError, match=r"groups must be >= 1 and .* of weight, 4, got 3"):
        convert(np.ones([4, 3, 2]), 3)
    with pytest.raises(ValueError, match=r"groups must be >= 1 and .* of filters, 4, got 0"):
        back(np.ones([2, 3, 4]), 0)
