"""Tensors beyond 2^31 elements, lengths beyond memory, and SavedModels that are not whole."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import core

GIGABYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def ticks(positions):
    """Of each position a small integer that repeats at no power of two."""
    return (positions % 251 - 125).astype(np.float16)


@pytest.mark.skipif(
    "CONV_TRANSPOSE_ND_LARGE" not in os.environ or GIGABYTES < 15,
    reason="takes 10 GB and a minute: set CONV_TRANSPOSE_ND_LARGE=1 on a machine with 16 GB",
)
def test_more_than_2_to_the_31_elements(run_python):
    """Output, output gradient and their offsets pass 2^31; every element is looked at."""
    code = """
import numpy as np, tensorflow as tf
import conv_transpose_nd as ct
import test_limits
length, stride = 2**26 + 5, 32
x = test_limits.ticks(np.arange(length)).reshape([1, length, 1])
w = np.zeros([2, 1, 1], np.float16)
w[0], w[1] = 1, 2
y = ct.conv_transpose_nd(x, w, strides=stride)
assert y.shape == [1, length * stride, 1] and length * stride > 2**31
y = y.numpy().reshape([length, stride])
assert np.array_equal(y[:, 0], x.ravel()), "first tap"
assert np.array_equal(y[:, 1], 2 * x.ravel()), "second tap"
assert not y[:, 2:].any(), "positions without a tap"
library, window = ct._library.library, {"strides": [1, stride, 1], "padding": "SAME"}
dy = tf.constant(y.reshape([1, -1, 1]))
del y
dx = library.conv_transpose_nd_input_grad(output_grad=dy, filter=w, **window)
assert np.array_equal(dx, 5 * x), "input gradient"
# Ones all over the input, few enough that their sums are exact.
chosen = np.append(np.random.default_rng(1).integers(0, length, 1000), [0, length - 1])
ones = np.zeros_like(x)
ones[0, chosen] = 1
dw = library.conv_transpose_nd_filter_grad(
    input=ones, filter_shape=[2, 1, 1], output_grad=dy, **window)
total = x[ones == 1].sum(dtype=np.float64)
assert np.array_equal(dw.numpy().ravel(), np.float16([total, 2 * total])), "filter gradient"
print("elements", length * stride)
"""
    done = run_python(code, timeout=600)
    assert int(done.stdout.split()[-1]) > 2**31


@pytest.mark.parametrize("function", [core.geometry, core.plan])
def test_lengths_that_no_memory_holds(function):
    """Only shapes: nothing is allocated, and nothing takes as long as the tensors are."""
    shapes = [1, 2**40, 3], [5, 4, 3]
    assert function(*shapes, strides=2)["phases"] in (2, [2])
    with pytest.raises(ValueError, match=r"must have at most 2\^56 elements"):
        function([1, 2**40, 2**10, 2**10], [1, 1, 1, 2**10])


def test_a_plan_lists_the_taps_of_a_filter_that_could_exist():
    with pytest.raises(ValueError, match=r"filter_shape\[0\] must be <= 16777216, got 1099511627"):
        core.plan([1, 4, 1], [2**40, 1, 1])


def test_a_plan_counts_the_bytes_of_a_filter_that_could_exist():
    """Found by fuzzing: the packed form of 2^56 elements has more bytes than 2^63."""
    words = r"filter_shape must have at most 2\^47 elements, got 140737488355332"
    with pytest.raises(ValueError, match=words):
        core.plan([1, 4, 1], [4, 2**45 + 1, 1])


def test_a_plan_of_many_taps_is_made_soon():
    """The pixel-lanes plan of as many taps took 600 MB and 4 s."""
    plan = core.plan([1, 2**22, 1], [2**22, 1, 1], output_shape=[1, 2**22, 1])
    assert plan["family"] != "pixel_lanes"
    assert plan["shared_bytes"] < 2**30


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    module = tf.Module()
    module.filters = tf.Variable(tf.ones([3, 3, 2, 4]))
    module.call = tf.function(
        lambda x: ct.conv_transpose_nd(x, module.filters, strides=2),
        input_signature=[tf.TensorSpec([None, None, None, 4])],
        autograph=False,
    )
    folder = tmp_path_factory.mktemp("saved_model") / "model"
    tf.saved_model.save(module, str(folder))
    return folder


# Part of a SavedModel, and what the error names. Each is cut at several places.
PARTS = {
    "saved_model.pb": "saved_model.pb|SavedModel|parse|graph|signature|proto",
    "variables/variables.index": "variables|checkpoint|corrupt|truncated|too short|table",
    "variables/variables.data-00000-of-00001": "variables|truncated|checkpoint|data|read",
}


def test_a_truncated_saved_model_is_an_error(saved_model, tmp_path, run_python):
    """At every cut a Python exception; never the end of the process, never a result."""
    copies = []
    for part in PARTS:
        whole = (saved_model / part).read_bytes()
        for cut in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            copy = tmp_path / f"{part.replace('/', '_')}_{cut}"
            shutil.copytree(saved_model, copy)
            (copy / part).write_bytes(whole[:cut])
            copies.append((str(copy), part))
    code = """
import json, sys
import tensorflow as tf
import conv_transpose_nd
for folder, part in json.loads(sys.argv[1]):
    try:
        y = tf.saved_model.load(folder).call(tf.ones([1, 2, 2, 4]))
        print(json.dumps([folder, "no error", str(y.shape)]), flush=True)
    except Exception as error:
        print(json.dumps([folder, type(error).__name__, str(error)]), flush=True)
"""
    done = run_python(code, json.dumps(copies))
    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(outcomes) == len(copies)
    for (folder, part), (_, error, message) in zip(copies, outcomes, strict=True):
        assert error != "no error", folder
        assert re.search(PARTS[part], message, re.IGNORECASE), (folder, error, message)
