"""What `ct.saved_model.accelerate` sees through, and what it leaves alone and why."""

import re

import numpy as np
import pytest
import tensorflow as tf
from accelerate_cases import QUICK, SHAPES, STOCK, WHAT, Forms, close, digest, nodes, ops

import conv_transpose_nd as ct
from conv_transpose_nd import _library


def test_forms_are_all_rewritten(forms):
    folder, report = forms
    assert not ops(folder / "ours") & STOCK
    said = {op.function: op.what for op in report.ops}
    for name, what in WHAT.items():
        matching = [w for f, w in said.items() if re.fullmatch(rf"__inference_{name}_\d+", f)]
        if name == "while_loop":
            matching = [w for f, w in said.items() if f.startswith("while_body")]
        assert matching == [what], name
    assert report.rewritten == len(report.ops) == len(WHAT)
    assert {timing.name for timing in report.timings} == set(WHAT)


@pytest.mark.parametrize("name", WHAT)
def test_forms_compute_the_same(forms, name):
    before, after = (tf.saved_model.load(str(forms[0] / side)) for side in ("stock", "ours"))
    signature = getattr(Forms, name).input_signature
    shape = SHAPES.get(name) or [
        d or (2 if i == 0 else 5) for i, d in enumerate(signature[0].shape)
    ]
    x = Forms.array(*shape)
    arguments = [x, [2, 9, 10, 4]] if name == "dynamic" else [x]
    arguments = [tf.constant(a) for a in arguments]
    expected, got = getattr(before, name)(*arguments), getattr(after, name)(*arguments)
    assert got.shape == expected.shape
    # At most 36 products of normal numbers; the loop runs two such sums, on sums of 9.
    close(got, expected, 64, 64.0)


def test_the_filter_of_a_function_that_trains_is_not_marked(forms):
    convolutions = [n for n in nodes(forms[0] / "ours") if n.op == "ConvTransposeND"]
    marked = [node.attr["filter_is_constant"].b for node in convolutions]
    assert sorted(marked) == [False] + [True] * (len(WHAT) - 1)
    after = tf.saved_model.load(str(forms[0] / "ours"))
    x, shape = tf.ones([1, 3, 3, 3]), tf.constant([1, 6, 6, 4])
    first = after.dynamic(x, shape)
    after.filters.assign(2 * after.filters)
    assert np.array_equal(after.dynamic(x, shape), 2 * first)


def test_left_alone_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(_library, "has_xla", False)

    class Others(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3])], jit_compile=True)
        def compiled(self, x):
            return tf.nn.conv2d_transpose(x, tf.ones([3, 3, 4, 3]), [1, 8, 8, 4], 2)

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3])])
        def placed(self, x):
            with tf.device("/device:GPU:0"):
                return tf.nn.conv2d_transpose(x, tf.ones([3, 3, 4, 3]), [1, 8, 8, 4], 2)

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3]), tf.TensorSpec(None)])
        def any_filter(self, x, filters):
            shape = tf.shape(x) * [1, 2, 2, 1]
            return tf.nn.conv2d_transpose(x, filters, shape, 2)

        @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 3])])
        def depthwise(self, x):
            return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=[1, 8, 8, 3],
                filter=tf.ones([3, 3, 3, 1]),
                out_backprop=x,
                strides=[1, 2, 2, 1],
                padding="SAME",
            )

    tf.saved_model.save(Others(), str(tmp_path / "stock"))
    lines = []
    report = ct.saved_model.accelerate(
        tmp_path / "stock", tmp_path / "copy", check=False, report=lines.append
    )
    reasons = {op.function.split("_")[3]: op.what for op in report.ops}
    assert report.rewritten == 0
    assert reasons.keys() == {"compiled", "placed", "any", "depthwise"}
    assert "in a function for XLA, which the op was built without" in reasons["compiled"]
    assert "placed on /device:GPU:0" in reasons["placed"]
    assert "only a run can tell the groups" in reasons["any"]
    assert "depthwise" in reasons["depthwise"]
    assert lines == [*map(str, report.ops), *report.notes]


def test_nothing_to_rewrite_is_copied_and_said(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None])])
    tf.saved_model.save(module, str(tmp_path / "stock"))
    report = ct.saved_model.accelerate(tmp_path / "stock", tmp_path / "copy", **QUICK)
    assert report.notes == ("nothing to rewrite: copied as it is",)
    assert digest(tmp_path / "copy") == digest(tmp_path / "stock")
    report = ct.saved_model.to_stock(tmp_path / "stock", tmp_path / "other", **QUICK)
    assert report.notes == ("nothing to rewrite: copied as it is",)
    assert digest(tmp_path / "other") == digest(tmp_path / "stock")


def test_groups_that_only_a_run_can_tell(tmp_path):
    """Taken for one, which the run refuses: nothing is written."""
    module = tf.Module()
    module.grouped = tf.function(
        lambda x, shape: tf.nn.conv2d_transpose(x, tf.ones([3, 3, 2, 4]), shape, 2),
        input_signature=[tf.TensorSpec([None, 6, 6, 4]), tf.TensorSpec([4], "int32")],
    )
    tf.saved_model.save(module, str(tmp_path / "stock"))
    inputs = {"serving_default": {"x": tf.ones([2, 6, 6, 4]), "shape": [2, 12, 12, 4]}}
    with pytest.raises(
        ValueError, match=r"(?s)serving_default fails after the rewrite.*groups\), got 4"
    ):
        ct.saved_model.accelerate(tmp_path / "stock", tmp_path / "ours", inputs=inputs, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]
