"""Wrong use: the kind of error that the stock entry point raises, in this one's own words."""

import json
import re

import pytest
import wrong_use

import conv_transpose_nd as ct

CALLS = [
    (path, index)
    for path, calls in (wrong_use.ENTRY_POINTS | wrong_use.WITHOUT_STOCK).items()
    for index in range(len(calls))
]


@pytest.fixture(scope="module")
def stock(run_python):
    printed = run_python("import wrong_use; wrong_use.main()", TF_ENABLE_ONEDNN_OPTS="0").stdout
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize(("path", "index"), CALLS)
def test_kind_and_words(stock, path, index):
    calls = (wrong_use.ENTRY_POINTS | wrong_use.WITHOUT_STOCK)[path]
    argument, call = calls[index]
    kind, words = wrong_use.outcome(ct, path, call)
    assert kind in ("value", "type"), words
    assert kind == (stock[path][index] if path in stock else "value"), words
    # TensorFlow itself adds the name of the op's node in front and behind.
    own = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", words)
    # The op calls one filter what tf.nn calls filters; `value` is the older name of `input`.
    names = {"filters": "filter", "value": "value|input"}.get(argument, argument)
    if argument in ("kernel_initializer", "kernel_regularizer", "bias_constraint"):
        names = argument.partition("_")[2]
    assert re.search(names, own), own
    assert not re.search(r"Backprop|ConvTransposeND|conv_transpose_nd\b", own), own
    if path.startswith("keras"):
        assert own == words, "a user of Keras reads of no node"
