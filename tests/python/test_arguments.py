"""Every accepted form of an argument, and words for those that are not accepted."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from conv_transpose_nd import _arguments


def canonical(
    rank, strides=1, padding="SAME", data_format=None, dilations=None, output_padding=None
):
    return _arguments.attributes(rank, strides, padding, data_format, dilations, output_padding)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, [1, 2, 2, 1]),
        ([2], [1, 2, 2, 1]),
        ((2, 3), [1, 2, 3, 1]),
        ([1, 2, 3, 1], [1, 2, 3, 1]),
        (np.array([2, 3]), [1, 2, 3, 1]),
        (np.int64(2), [1, 2, 2, 1]),
        ([np.int32(2), 3], [1, 2, 3, 1]),
        (2.0, [1, 2, 2, 1]),
        ([2.0, 3.0], [1, 2, 3, 1]),
        (None, [1, 1, 1, 1]),
        (True, [1, 1, 1, 1]),
        (range(2, 4), [1, 2, 3, 1]),
        ([5, 2, 3, 7], [5, 2, 3, 7]),  # C++ rejects it, with the words of the op
        (tf.constant([2, 3]), [1, 2, 3, 1]),
        (tf.constant(2), [1, 2, 2, 1]),
        (tf.Variable([2, 3]), [1, 2, 3, 1]),
    ],
)
def test_steps(value, expected):
    assert canonical(2, strides=value).strides == expected
    assert canonical(2, dilations=value).dilations == expected
    assert all(type(v) is int for v in canonical(2, strides=value).strides)


@given(
    spatial=st.lists(st.integers(-9, 2**31), min_size=1, max_size=6),
    channels_first=st.booleans(),
    kind=st.sampled_from([list, tuple, np.array]),
)
def test_steps_of_any_rank(spatial, channels_first, kind):
    rank = len(spatial)
    full = [1, 1, *spatial] if channels_first else [1, *spatial, 1]
    data_format = "NC" if channels_first else None
    for form in (spatial, full):
        assert canonical(rank, kind(form), data_format=data_format).strides == full
    one = canonical(rank, kind(spatial[:1]), data_format=data_format).strides
    assert one == [v if v == 1 and i in (0, 1 if channels_first else rank + 1) else spatial[0]
                   for i, v in enumerate([1, 1, *[0] * rank] if channels_first
                                         else [1, *[0] * rank, 1])]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([1, 2, 3], ValueError, r"strides must be an int or have 1, 2 or 4 values for 2 .* got 3"),
        ([], ValueError, r"strides .* got 0: \[\]"),
        (2.5, TypeError, r"strides must be an integer, got 2\.5"),
        ([1, "2"], TypeError, r"strides\[1\] must be an integer, got '2'"),
        ("2", TypeError, r"strides must be an integer, got '2'"),
        ([2, None], TypeError, r"strides\[1\] must be an integer, got None"),
        ({2: 3}, TypeError, r"strides must be a sequence, got \{2: 3\}"),
        ([[2, 2]], TypeError, r"strides\[0\] must be an integer, got \[2, 2\]"),
        (float("nan"), TypeError, r"strides must be an integer, got nan"),
        (object, TypeError, r"strides must be an integer"),
    ],
)
def test_steps_that_are_none(value, error, words):
    with pytest.raises(error, match=words):
        canonical(2, strides=value)


def test_steps_for_one_axis_name_each_length_once():
    with pytest.raises(ValueError, match="must be an int or have 1 or 3 values for 1 spatial"):
        canonical(1, strides=[1, 2])


def test_symbolic_values_are_refused():
    @tf.function
    def traced(strides):
        return canonical(2, strides=strides)

    with pytest.raises(TypeError, match="strides must be known when the op is created"):
        traced(tf.constant([2, 2]))


@pytest.mark.parametrize(
    ("padding", "name", "pairs"),
    [
        ("SAME", "SAME", []),
        (b"VALID", "VALID", []),
        ("SAME_LOWER", "SAME_LOWER", []),
        ([(1, 2), (3, 4)], "EXPLICIT", [0, 0, 1, 2, 3, 4, 0, 0]),
        ([[0, 0], [1, 2], [3, 4], [0, 0]], "EXPLICIT", [0, 0, 1, 2, 3, 4, 0, 0]),
        (np.array([[1, 2], [3, 4]]), "EXPLICIT", [0, 0, 1, 2, 3, 4, 0, 0]),
        ([(9, 0), (1, 2), (3, 4), (0, 0)], "EXPLICIT", [9, 0, 1, 2, 3, 4, 0, 0]),
    ],
)
def test_padding(padding, name, pairs):
    attributes = canonical(2, padding=padding)
    assert (attributes.padding, attributes.explicit_paddings) == (name, pairs)


def test_padding_in_the_order_of_data_format():
    assert canonical(1, padding=[(1, 2)], data_format="NCW").explicit_paddings == [0, 0, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("padding", "error", "words"),
    [
        ("same", ValueError, "padding must be 'SAME', 'VALID', 'SAME_LOWER' or .* got 'same'"),
        ("EXPLICIT", ValueError, "got 'EXPLICIT'"),
        ("", ValueError, "got ''"),
        (None, ValueError, "got None"),
        (1, ValueError, "got 1"),
        ([(1, 1)], ValueError, r"padding must have 2 or 4 pairs for 2 .* got 1: \[\[1, 1\]\]"),
        ([], ValueError, "got 0"),
        ([1, 1], ValueError, r"padding\[0\] must be a pair \(before, after\), got 1"),
        ([(1, 1), (1, 2, 3)], ValueError, r"padding\[1\] must be a pair .* got \[1, 2, 3\]"),
        ([(1, 1), (1, 2.5)], TypeError, r"padding\[1\]\[1\] must be an integer, got 2.5"),
        ([(1, 1), (1, None)], TypeError, r"padding\[1\]\[1\] must be an integer, got None"),
    ],
)  # fmt: skip
def test_padding_that_is_none(padding, error, words):
    with pytest.raises(error, match=words):
        canonical(2, padding=padding)


@pytest.mark.parametrize("data_format", [None, "NWC", "NHWC", "NDHWC", "NXYZC"])
def test_channels_last(data_format):
    assert _arguments.canonical_data_format(data_format) == "CHANNELS_LAST"


@pytest.mark.parametrize("data_format", ["NC", "NCW", "NCHW", "NCDHW", "channels_first"])
def test_channels_first(data_format):
    assert _arguments.canonical_data_format(data_format) == "CHANNELS_FIRST"


@pytest.mark.parametrize("data_format", ["", "HWCN", "nhwc", "N", b"NHWC", 3, ["NHWC"]])
def test_data_format_that_is_none(data_format):
    with pytest.raises(ValueError, match=r"data_format must be None, 'N\.\.\.C' or .* got"):
        _arguments.canonical_data_format(data_format)


def test_output_padding():
    assert canonical(2, output_padding=None).output_padding == []
    assert canonical(2, output_padding=1).output_padding == [1, 1]
    assert canonical(2, output_padding=[1]).output_padding == [1, 1]
    assert canonical(2, output_padding=(1, 0)).output_padding == [1, 0]
    with pytest.raises(ValueError, match="output_padding must be an int or have 1 or 2 values"):
        canonical(2, output_padding=[0, 1, 0, 0])
    with pytest.raises(TypeError, match=r"output_padding\[1\] must be an integer, got 0\.5"):
        canonical(2, output_padding=[0, 0.5])


def test_activation():
    assert _arguments.canonical_activation(None) == "none"
    assert _arguments.canonical_activation("gelu_tanh") == "gelu_tanh"
    for wrong in ("swish", "RELU", 3, tf.nn.relu, ["relu"]):
        with pytest.raises(ValueError, match="activation must be None or one of 'none', 'relu'"):
            _arguments.canonical_activation(wrong)


def test_groups():
    assert _arguments.canonical_groups(np.int64(3)) == 3
    with pytest.raises(TypeError, match=r"groups must be an integer, got 1\.5"):
        _arguments.canonical_groups(1.5)


@pytest.mark.parametrize(
    ("known", "rank"),
    [
        ({"input_rank": 4}, 2),
        ({"filter_rank": 5}, 3),
        ({"output_rank": 3}, 1),
        ({"data_format": "NDHWC"}, 3),
        ({"lists": ([2, 2],)}, 2),
        ({"lists": ([1, 2, 2, 1], [1, 1])}, 2),
        ({"lists": ([1, 1, 2, 2, 2], [2, 2, 2], "SAME")}, 3),
    ],
)
def test_spatial_rank(known, rank):
    unknown = {
        "input_rank": None,
        "filter_rank": None,
        "output_rank": None,
        "data_format": None,
        "lists": (),
    }
    assert _arguments.infer_spatial_rank(**(unknown | known)) == rank


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ((2, None), "input must have rank 3 to 8, got rank 2"),
        ((9, 9), "input must have rank 3 to 8, got rank 9"),
        ((None, 0), "filters must have rank 3 to 8, got rank 0"),
        ((4, 5), r"filters must have rank 4 \(input's\), got rank 5"),
        ((None, None), "the number of spatial axes must be known"),
    ],
)
def test_spatial_rank_that_is_none(ranks, words):
    with pytest.raises(ValueError, match=words):
        _arguments.infer_spatial_rank(*ranks, None, None, (2, [1, 2, 1], "SAME"))


def test_equal_arguments_share_one_instance():
    assert canonical(2, [2, 2]) is canonical(2, (2, 2))
