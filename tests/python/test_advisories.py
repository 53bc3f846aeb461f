"""Inputs that broke other implementations: the right result or words that name the argument."""

import re

import hazards
import numpy as np
import pytest
import tensorflow as tf
from conftest import child_environment

from conv_transpose_nd import core
from conv_transpose_nd._library import library

BIG = 2**31 - 1


def transpose(input, filter, output_shape=None, strides=1, padding="SAME", **more):
    rank = len(input) - 2 if len(input) >= 3 else 2
    steps = [1, *[strides] * rank, 1] if isinstance(strides, int) else strides
    return {
        "op": "transpose",
        "input": input,
        "filter": filter,
        "output_shape": output_shape,
        "strides": steps,
        "padding": padding,
    } | more


def explicit(paddings, input=(1, 4, 3), output_shape=None):
    more = {"explicit_paddings": paddings}
    return transpose(list(input), [3, 2, 3], output_shape, 2, "EXPLICIT", **more)


def input_grad(output_grad, filter, strides, padding="SAME", **more):
    return {
        "op": "input_grad",
        "output_grad": output_grad,
        "filter": filter,
        "strides": strides,
        "padding": padding,
    } | more


def filter_grad(input, filter_shape, output_grad, strides, padding="SAME", **more):
    return {
        "op": "filter_grad",
        "input": input,
        "filter_shape": filter_shape,
        "output_grad": output_grad,
        "strides": strides,
        "padding": padding,
    } | more


S2, S3 = [1, 1, 1, 1], [1, 1, 1, 1, 1]

# name: (call, shape of the result | words of the error)
CASES = {
    "CVE-2021-29520": (
        transpose([1, 1, 1, 1, 1], [4, 1, 6, 1, 1], [1, 1, 1, 1, 2], [1, 89, 29, 89, 1]),
        r"output_shape\[4\] must equal out_channels 1 .*got 2",
    ),
    "CVE-2021-29520 consistent": (
        transpose([1, 1, 1, 1, 1], [4, 1, 6, 1, 1], [1, 1, 1, 1, 1], [1, 89, 29, 89, 1]),
        [1, 1, 1, 1, 1],
    ),
    "CVE-2021-29522": (
        transpose([0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]),
        r"output_shape\[4\] must equal out_channels 1 .*got 0",
    ),
    "CVE-2021-29522 consistent": (
        transpose([0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]),
        [0, 0, 0, 0, 1],
    ),
    "CVE-2021-29525": (transpose([52, 1, 1, 0], [0, 1, 5, 0], [52, 1, 1, 5]), [52, 1, 1, 5]),
    "CVE-2021-29524": (
        filter_grad([0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 1, 0], [1, 66, 18, 1]),
        r"filter_shape\[3\] .* must equal input\[3\] = 0, got 1",
    ),
    "CVE-2021-29524 consistent": (
        filter_grad([0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [1, 66, 18, 1]),
        [1, 1, 1, 1],
    ),
    "CVE-2021-29538": (filter_grad([0] * 4, [0] * 4, [0] * 4, S2), [0, 0, 0, 0]),
    "CVE-2021-29540": (
        filter_grad([1, 3, 3, 2], [1, 1, 1, 1], [1, 3, 3, 1], S2, "VALID"),
        r"filter_shape\[3\] .* must equal input\[3\] = 2, got 1",
    ),
    "CVE-2021-37675": (transpose([1, 2, 2, 3], [0, 0, 2, 3], strides=2), [1, 4, 4, 2]),
    "CVE-2021-41209": (transpose([1, 2, 2, 0], [3, 3, 0, 0], strides=2), [1, 4, 4, 0]),
    "CVE-2021-29588": (
        transpose([1, 2, 2, 1], [3, 3, 1, 1], [1, 2, 2, 1], [1, 0, 1, 1]),
        r"strides\[1\] must be >= 1, got 0",
    ),
    "CVE-2022-21725 input_grad": (
        input_grad([1, 2, 2, 1], [3, 3, 1, 1], [1, 1, 0, 1]),
        r"strides\[2\] must be >= 1, got 0",
    ),
    "CVE-2022-21725 filter_grad": (
        filter_grad([1, 2, 2, 1], [3, 3, 1, 1], [1, 2, 2, 1], [1, 0, 1, 1]),
        r"strides\[1\] must be >= 1, got 0",
    ),
    "CVE-2022-29196": (
        filter_grad([1, 2, 2, 1], 3, [1, 2, 2, 1], S2),
        r"filter_shape must have rank 1, got rank 0",
    ),
    "CVE-2022-35969": (
        transpose([], [1, 1, 1, 1], [65534, 65534]),
        r"input must have rank .*, got rank 0",
    ),
    "CVE-2022-35969 filter_grad": (
        filter_grad([1, 2, 2, 1], [65534, 65534], [], S2),
        r"filter_shape must have 4 values .*, got 2",
    ),
    "CVE-2022-35999": (
        transpose([3, 1, 0, 3], [1, 2, 2, 3], [3, 1, 1, 2], [1, 1, 2, 1], "VALID"),
        [3, 1, 1, 2],
    ),
    "CVE-2022-35999 short filter": (
        transpose([3, 1, 0, 3], [1, 1, 2, 3], [3, 1, 1, 2], [1, 1, 2, 1], "VALID"),
        r"output_shape\[2\] must be 0 for input length 0.*got 1",
    ),
    "CVE-2022-35996": (
        explicit([0, 0, 1, 1, 0, 0], [1, 0, 3], [1, 0, 2]),
        [1, 0, 2],
    ),
    "CVE-2022-35996 inferred": (
        explicit([0, 0, 1, 1, 0, 0], [1, 0, 3]),
        [1, 0, 2],
    ),
    "CVE-2022-41894": (
        transpose([2, 2, 2, 2, 64], [2, 2, 2, 1, 64], strides=2, bias=[[1]]),
        [2, 4, 4, 4, 1],
    ),
    "CVE-2023-25661": (
        transpose([1, 32, 32, 0, 3], [3, 3, 3, 4, 3], strides=2),
        [1, 64, 64, 0, 4],
    ),
    "tensorflow#61539": (transpose([1, 3, 3, 2], [0, 3, 4, 2], strides=1), [1, 3, 3, 4]),
    "tensorflow#57495": (transpose([0, 3, 3, 2], [3, 3, 4, 2], strides=2), [0, 6, 6, 4]),
    "tensorflow#57958": (
        transpose([1, 4, 4, 3], [3, 3, 16, 3], [1, 2**30, 2**30, 16], 2),
        r"output_shape must have at most 2\^56 elements, got more",
    ),
    "tensorflow#127293 three values": (
        transpose([1, 4, 4, 3], [3, 3, 2, 3], [1, 8, 8], 2),
        r"output_shape must have 4 values.*got 3",
    ),
    "tensorflow#127293 scalar": (
        transpose([1, 4, 4, 3], [3, 3, 2, 3], 8, 2),
        r"output_shape must have rank 1, got rank 0",
    ),
    "tensorflow#94114": (
        transpose([1, 3, 2, 2, 2], [3, 3, 3, 2, 3], [5], S3, data_format="CHANNELS_FIRST"),
        r"output_shape must have 5 values.*got 1",
    ),
    "tensorflow#125946": (
        transpose([1, 4, 4, 3], [], [1, 4, 4, 2]),
        r"filters? must have rank .*, got rank 0",
    ),
    **{
        f"negative output_shape {rank}-D": (
            transpose([1, *[4] * rank, 3], [*[3] * rank, 2, 3], [1, -8, *[8] * (rank - 1), 2], 2),
            r"output_shape\[1\] must be >= 0, got -8",
        )
        for rank in (1, 2, 3, 6)
    },
    "negative batch": (
        transpose([1, 4, 3], [3, 2, 3], [-1, 8, 2], 2),
        r"output_shape\[0\] must be >= 0, got -1",
    ),
    "least int64": (
        transpose([1, 4, 3], [3, 2, 3], [1, -(2**63), 2], 2, shape_dtype="int64"),
        r"output_shape\[1\] must be >= 0, got -9223372036854775808",
    ),
    "greatest int64": (
        transpose([1, 4, 3], [3, 2, 3], [1, 2**63 - 1, 2], 2, shape_dtype="int64"),
        r"output_shape\[1\] must be <= 2\^56, got 9223372036854775807",
    ),
    "int64 shape": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 2], 2, shape_dtype="int64"),
        [1, 8, 2],
    ),
    # output_shape that disagrees
    "other batch": (
        transpose([2, 4, 3], [3, 2, 3], [3, 8, 2], 2),
        r"output_shape\[0\] must equal the batch of input 2, got 3",
    ),
    "other channels": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 3], 2),
        r"output_shape\[2\] must equal out_channels 2.*got 3",
    ),
    "SAME one too short": (
        transpose([1, 4, 3], [3, 2, 3], [1, 6, 2], 2),
        r"output_shape\[1\] must be in \[7, 8\] for input length 4.*got 6",
    ),
    "SAME one too long": (
        transpose([1, 4, 3], [3, 2, 3], [1, 9, 2], 2),
        r"output_shape\[1\] must be in \[7, 8\] for input length 4.*got 9",
    ),
    "VALID one too short": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 2], 2, "VALID"),
        r"output_shape\[1\] must be in \[9, 10\] for input length 4, filter length 3, stride 2, "
        r"padding VALID, got 8",
    ),
    "VALID one too long": (
        transpose([1, 4, 3], [3, 2, 3], [1, 11, 2], 2, "VALID"),
        r"output_shape\[1\] must be in \[9, 10\] .*got 11",
    ),
    "other in_channels": (
        transpose([1, 4, 3], [3, 2, 4], [1, 8, 2], 2),
        r"filter\[2\] \(in_channels\) must equal input\[2\] = 3, got 4",
    ),
    "output_shape of rank 2": (
        transpose([1, 4, 3], [3, 2, 3], [[1, 8, 2]], 2),
        r"output_shape must have rank 1, got rank 2",
    ),
    "too many values": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 8, 2], 2),
        r"output_shape must have 3 values.*got 4",
    ),
    # explicit paddings
    "negative padding": (
        explicit([0, 0, -1, 0, 0, 0]),
        r"explicit_paddings\[2\] must be >= 0, got -1",
    ),
    "too few paddings": (
        explicit([0, 0, 1]),
        r"explicit_paddings must have 6 values.*got 3",
    ),
    "too many paddings": (
        explicit([0] * 8),
        r"explicit_paddings must have 6 values.*got [48]",
    ),
    "no paddings": (
        explicit([]),
        r"explicit_paddings must have 6 values.*got 0",
    ),
    "huge padding": (
        explicit([0, 0, BIG, BIG, 0, 0]),
        r"explicit_paddings of spatial axis 0 must sum to at most 9 .*got 4294967294",
    ),
    "padding above int32": (
        explicit([0, 0, 2**31, 0, 0, 0]),
        r"explicit_paddings\[2\] must be <= 2147483647, got 2147483648",
    ),
    "padding of the batch": (
        explicit([1, 0, 0, 0, 0, 0]),
        r"explicit_paddings\[0\] must be 0 \(batch\), got 1",
    ),
    "padding of the channels": (
        explicit([0, 0, 0, 0, 0, 1]),
        r"explicit_paddings\[5\] must be 0 \(channels\), got 1",
    ),
    "paddings without EXPLICIT": (
        transpose([1, 4, 3], [3, 2, 3], None, 2, "SAME", explicit_paddings=[0] * 6),
        r"explicit_paddings must be empty unless padding is EXPLICIT",
    ),
    # strides and dilations
    "negative stride": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 2], -2),
        r"strides\[1\] must be >= 1, got -2",
    ),
    "stride of the batch": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 2], [2, 2, 1]),
        r"strides\[0\] must be 1 \(batch\), got 2",
    ),
    "stride of the channels": (
        transpose([1, 3, 4], [3, 2, 3], [1, 2, 8], [1, 2, 2], data_format="CHANNELS_FIRST"),
        r"strides\[1\] must be 1 \(channels\), got 2",
    ),
    "greatest stride": (transpose([1, 1, 3], [3, 2, 3], [1, 5, 2], BIG), [1, 5, 2]),
    "greatest stride, two inputs": (
        transpose([1, 2, 3], [3, 2, 3], [1, 5, 2], BIG),
        r"output_shape\[1\] must be in \[2147483648, 4294967294\] .*got 5",
    ),
    "stride above int32": (
        transpose([1, 1, 3], [3, 2, 3], [1, 5, 2], 2**31),
        r"strides\[1\] must be <= 2147483647, got 2147483648",
    ),
    "zero dilation": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 2], 2, dilations=[1, 0, 1]),
        r"dilations\[1\] must be >= 1, got 0",
    ),
    "negative dilation": (
        transpose([1, 4, 3], [3, 2, 3], [1, 8, 2], 2, dilations=[1, -1, 1]),
        r"dilations\[1\] must be >= 1, got -1",
    ),
    "greatest dilation": (
        transpose([1, 2, 3], [3, 2, 3], [1, 4, 2], 2, dilations=[1, BIG, 1]),
        [1, 4, 2],
    ),
    "greatest dilation, VALID": (
        transpose([1, 2, 3], [3, 2, 3], [1, 4, 2], 2, "VALID", dilations=[1, BIG, 1]),
        r"output_shape\[1\] must be in \[4294967297, 4294967298\] .*got 4",
    ),
    # output_padding
    "output_padding of the stride": (
        transpose([1, 4, 3], [3, 2, 3], None, 2, "VALID", output_padding=[2]),
        r"output_padding\[0\] must be < stride 2, got 2",
    ),
    "output_padding above stride and dilation": (
        transpose([1, 4, 3], [3, 2, 3], None, 2, "VALID", output_padding=[3], dilations=[1, 3, 1]),
        r"output_padding\[0\] must be < stride 2, got 3",
    ),
    "negative output_padding": (
        transpose([1, 4, 3], [3, 2, 3], None, 2, "VALID", output_padding=[-1]),
        r"output_padding\[0\] must be >= 0, got -1",
    ),
    "output_padding with output_shape": (
        transpose([1, 4, 3], [3, 2, 3], [1, 10, 2], 2, "VALID", output_padding=[1]),
        r"output_padding must be empty where output_shape is given",
    ),
    # groups
    "groups 0": (
        transpose([1, 4, 4], [3, 2, 4], None, 2, groups=0),
        r"groups must be >= 1, got 0",
    ),
    "negative groups": (
        transpose([1, 4, 4], [3, 2, 4], None, 2, groups=-2),
        r"groups must be >= 1, got -2",
    ),
    "groups that do not divide": (
        transpose([1, 4, 4], [3, 2, 4], None, 2, groups=3),
        r"groups must divide in_channels 4, got 3",
    ),
    "groups above the channels": (
        transpose([1, 4, 4], [3, 2, 4], None, 2, groups=BIG),
        r"groups must divide in_channels 4, got 2147483647",
    ),
    "groups with other output channels": (
        transpose([1, 4, 4], [3, 2, 4], [1, 8, 2], 2, groups=2),
        r"output_shape\[2\] must equal out_channels 4 \(filter\[1\] \* groups\), got 2",
    ),
    # ranks
    "input of rank 0": (
        transpose([], [3, 3, 2, 3], [1, 4, 4, 2]),
        r"input must have rank .*, got rank 0",
    ),
    "input of rank 1": (
        transpose([4], [3, 3, 2, 3], [1, 4, 4, 2]),
        r"input must have rank .*, got rank 1",
    ),
    "filter of another rank": (
        transpose([1, 4, 3], [3, 3, 2, 3]),
        r"filters? must have rank 3 .*, got rank 4",
    ),
    "rank 7": (
        transpose([1] * 9, [1] * 9, [1] * 9),
        r"(strides must have 3 to 8 values.*|input must have rank 3 to 8), got (rank )?9",
    ),
    "rank 6": (transpose([1, *[2] * 6, 1], [*[2] * 6, 1, 1], strides=1), [1, *[2] * 6, 1]),
    # bias
    "bias of another length": (
        transpose([1, 4, 3], [3, 2, 3], strides=2, bias=[[3]]),
        r"bias must have out_channels 2 values, got 3",
    ),
    "bias of rank 2": (
        transpose([1, 4, 3], [3, 2, 3], strides=2, bias=[[1, 2]]),
        r"bias must have rank 1, got rank 2",
    ),
    "bias of rank 0": (
        transpose([1, 4, 3], [3, 2, 3], strides=2, bias=[[]]),
        r"bias must have rank 1, got rank 0",
    ),
    "two biases": (
        transpose([1, 4, 3], [3, 2, 3], strides=2, bias=[[2], [2]]),
        r"num_bias must be 0 or 1, got 2",
    ),
    # the gradient ops
    "input_grad, zero filter": (input_grad([1, 4, 4, 2], [0, 3, 2, 5], S2), [1, 4, 4, 5]),
    "input_grad, output shorter than filter": (
        input_grad([1, 2, 2], [3, 2, 5], [1, 1, 1], "VALID"),
        [1, 0, 5],
    ),
    "input_grad, rank 0": (input_grad([], [3, 3, 2, 3], S2), r"output_grad must have rank"),
    "input_grad, filter of rank 0": (input_grad([1, 4, 4, 2], [], S2), r"filter must have rank 4"),
    "input_grad, other channels": (
        input_grad([1, 4, 4, 3], [3, 3, 2, 5], S2),
        r"output_grad\[3\] must equal out_channels 2.*got 3",
    ),
    "filter_grad, other batch": (
        filter_grad([1, 4, 4, 5], [3, 3, 2, 5], [2, 4, 4, 2], S2),
        r"output_grad\[0\] must equal the batch of input 1, got 2",
    ),
    "filter_grad, other length": (
        filter_grad([1, 4, 4, 5], [3, 3, 2, 5], [1, 4, 5, 2], S2),
        r"output_grad\[2\] must be 4 .*got 5",
    ),
    "filter_grad, negative filter_shape": (
        filter_grad([1, 4, 4, 5], [3, -3, 2, 5], [1, 4, 4, 2], S2),
        r"filter_shape\[1\] must be >= 0, got -3",
    ),
    "filter_grad, empty batch": (
        filter_grad([0, 4, 4, 5], [3, 3, 2, 5], [0, 4, 4, 2], S2),
        [3, 3, 2, 5],
    ),
    "filter_grad, huge filter_shape": (
        filter_grad([1, 4, 4, 5], [2**40, 2**40, 2, 5], [1, 4, 4, 2], S2, shape_dtype="int64"),
        r"filter_shape must have at most 2\^56 elements",
    ),
    "an allocation that cannot succeed": (
        transpose([1, 2**13, 1], [1, 1, 1], None, BIG, only=["eager"]),
        r"OOM when allocating tensor with shape\[1,17592186036224,1\]",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes():
    calls = {name: call for name, (call, _) in CASES.items()}
    return hazards.outcomes(calls, child_environment())


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name, (call, _) in CASES.items() for mode in hazards.modes(call)],
)
def test_hazard(outcomes, name, mode):
    outcome, expected = outcomes[name, mode], CASES[name][1]
    assert outcome["error"] != "crash", outcome
    if isinstance(expected, list):
        assert outcome["error"] is None, outcome
        assert outcome["shape"] == expected
        assert outcome["right"]
        return
    assert outcome["error"] is not None, outcome
    if "static" in mode:
        errors = ["ValueError"]
    elif "allocation" in name:
        errors = ["ResourceExhaustedError"]
    else:
        # What an attribute alone shows to be wrong is found while tracing in any mode.
        errors = ["ValueError", "InvalidArgumentError"]
    assert outcome["error"] in errors, outcome
    words = expected
    if mode == "static" and "must be >= 0, got -" in expected and "_shape" in expected:
        # TensorFlow reads a constant shape itself before it asks the op's shape function.
        words += "|Invalid value in tensor used for shape: -"
    if mode == "core":
        # Pairs have words of their own.
        words = words.replace(
            r"explicit_paddings must have 6 values.*", "padding must have 1 or 3 pairs, "
        )
    assert re.search(words, outcome["message"]), outcome


# Argument, rule and value, without what TensorFlow puts around them.
SENTENCE = re.compile(
    r"\b\w+(?:\[\d+\]| of spatial axis \d+| \(\w+\))* must [^\n]*?"
    r"(?=$|\n| \[Op|\s*\[\[\{| for '\{\{|  name: )",
    re.MULTILINE,
)
# What arrays and an int for `strides` tell of a rank is not what the op's list tells.
RANK = re.compile(r"must have (?:the )?rank \d+( to \d+)?( \([^)]*\))?")


def sentence(message):
    found = SENTENCE.search(message)
    assert found, message
    # Python's functions take `filters`, as those of tf.nn do.
    return RANK.sub("must have the rank of the call", found[0].replace("filters", "filter"))


def of_its_own(name, mode, call):
    """Where an entry point cannot have the words of the others: the same test has its own."""
    negative_shape = re.search(r"negative (output_shape|filter_shape|batch)|least int64", name)
    pairs = "explicit_paddings" in call
    return (mode == "static" and negative_shape) or (mode == "core" and pairs) or name == "rank 7"


@pytest.mark.parametrize("name", [name for name, (_, w) in CASES.items() if isinstance(w, str)])
def test_the_words_are_the_same_in_every_mode(outcomes, name):
    call = CASES[name][0]
    if "allocation" in name:
        return  # TensorFlow's own, in one mode
    modes = [mode for mode in hazards.modes(call) if not of_its_own(name, mode, call)]
    words = {mode: sentence(outcomes[name, mode]["message"]) for mode in modes}
    if name == "filter_grad, other length":
        # While tracing, what filter_shape holds is not known yet.
        words = {mode: said.replace("filter length 3, ", "") for mode, said in words.items()}
    assert len(set(words.values())) <= 1, words


FLOAT, DOUBLE, LONG = (np.ones([1, 3, 1], t) for t in ("float32", "float64", "int64"))


@pytest.mark.parametrize(
    ("operands", "words"),
    [
        ((FLOAT, DOUBLE), "filter must have the dtype of input, float32, got float64"),
        ((LONG, LONG), "input must have dtype float16, .* or int32, got int64"),
    ],
)
def test_dtypes_of_the_numpy_module(operands, words):
    for function in (core.conv_transpose, core.reference_conv_transpose):
        with pytest.raises(ValueError, match=words):
            function(*operands)


@pytest.mark.parametrize("operands", [(FLOAT, DOUBLE), (LONG, LONG)])
def test_dtypes_of_the_op(operands):
    """The op definition admits neither: TensorFlow answers, before the op is made."""
    x, w = map(tf.constant, operands)
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.NotFoundError, TypeError)):
        library.conv_transpose_nd(
            input=x, filter=w, output_shape=[], bias=[], strides=[1, 1, 1], padding="SAME"
        )
