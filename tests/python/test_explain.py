"""`ct.explain`: numbers against their definition, every kind of target, what it refuses."""

from __future__ import annotations

import itertools
import json
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd import core
from conv_transpose_nd._explain import measure, pictures, text

pytestmark = pytest.mark.usefixtures("machine_measured_once")


def upsampler():
    """Two stock transposed convolutions, one after the other."""
    x = inputs = keras.Input([None, None, 6])
    x = keras.layers.Conv2DTranspose(5, 4, 2, "same", activation="relu", name="up1")(x)
    x = keras.layers.Conv2DTranspose(3, 3, (1, 3), "valid", use_bias=False, name="up2")(x)
    return keras.Model(inputs, x)


UP1 = {"input_shape": [2, 5, 7, 6], "filter_shape": [4, 4, 5, 6], "output_shape": [2, 10, 14, 5]}
UP2 = {"input_shape": [2, 10, 14, 5], "filter_shape": [3, 3, 3, 5], "output_shape": [2, 12, 42, 3]}


def shapes_of(found):
    return [{key: one[key] for key in UP1} for one in found.to_dict()["convolutions"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model as a SavedModel and as a .keras file."""
    keras.utils.set_random_seed(1)
    place = tmp_path_factory.mktemp("models")
    model = upsampler()
    model.export(str(place / "saved_model"), verbose=False)
    model.save(place / "model.keras")
    return place


@pytest.fixture(scope="module")
def explained(folder, machine_measured_once):
    return ct.explain(folder / "saved_model", input_shape=[2, 5, 7, 6], seconds=0.02)


def taps_that_land(n, out, taps, stride, dilation, pad):
    return sum(0 <= i * stride + k * dilation - pad < out for i in range(n) for k in range(taps))


def test_shapes_are_explained_by_definition():
    found = ct.explain(
        [2, 5, 7, 6],
        [3, 4, 5, 6],
        strides=[2, 3],
        dilations=[2, 1],
        groups=2,
        padding=[[1, 0], [0, 2]],
        bias=True,
        activation="gelu",
        seconds=0,
    )
    (one,) = found.to_dict()["convolutions"]
    geometry = core.geometry(
        [2, 5, 7, 6],
        [3, 4, 5, 6],
        strides=[2, 3],
        dilations=[2, 1],
        groups=2,
        padding=[(1, 0), (0, 2)],
    )
    out = geometry["output_shape"]
    assert one["output_shape"] == out == [2, 12, 20, 10]
    landed = taps_that_land(5, out[1], 3, 2, 2, 1) * taps_that_land(7, out[2], 4, 3, 1, 0)
    assert one["flops"] == 2 * 2 * landed * 5 * 6
    assert one["bytes"] == 4 * (2 * 5 * 7 * 6 + 3 * 4 * 5 * 6 + 2 * 12 * 20 * 10)
    assert one["flop_per_byte"] == one["flops"] / one["bytes"]
    assert (one["groups"], one["bias"], one["activation"]) == (2, True, "gelu")
    assert one["family"] in one["reason"]
    # Stride and dilation 2: every second position has no tap.
    assert (one["phases"], one["padding"]) == (3, [[1, 0], [0, 2]])
    assert one["ours_ms"] is one["stock_ms"] is one["bound_ms"] is None
    assert found.total()["rewritable"] == 0


def test_a_saved_model_is_explained_per_layer_and_in_total(explained):
    found = explained.to_dict()
    assert shapes_of(explained) == [UP1, UP2]
    first, second = found["convolutions"]
    assert "up1" in first["name"]
    assert "up2" in second["name"]
    assert (first["bias"], first["activation"]) == (True, "relu")
    assert (second["bias"], second["activation"]) == (False, "none")
    for one in (first, second):
        assert one["op"] == "Conv2DBackpropInput"
        assert one["accelerate"] == "would become this op"
        assert not one["filter_is_constant"]
        assert one["ours_ms"] > 0
        assert one["stock_ms"] > 0
        assert one["stock_note"] == ""
        assert one["stock_over_ours"] == one["stock_ms"] / one["ours_ms"]
        peak, moved = found["machine"]["gflops"]["float32"], explained.machine.gbytes(one["bytes"])
        bounds = one["flops"] / peak * 1e-6, one["bytes"] / moved * 1e-6
        assert one["bound_ms"] == max(bounds)
        assert one["bound_by"] == ("memory" if bounds[1] > bounds[0] else "multiply-adds")
    total = found["total"]
    assert total["rewritable"] == 2
    assert total["stock_ms"] == first["stock_ms"] + second["stock_ms"]
    assert total["saved_ms"] == total["stock_ms"] - total["ours_ms"]
    whole = {one["name"]: one for one in found["signatures"]}
    assert "serving_default" in whole
    assert all(one["before_ms"] > 0 and one["after_ms"] > 0 for one in whole.values())
    assert whole["serving_default"]["shapes"] == "[2, 5, 7, 6]"
    json.dumps(found)


def test_keras_files_models_and_layers(folder):
    shape = {"input_shape": [2, 5, 7, 6], "seconds": 0}
    assert shapes_of(ct.explain(str(folder / "model.keras"), **shape)) == [UP1, UP2]
    model = upsampler()
    assert shapes_of(ct.explain(model, **shape)) == [UP1, UP2]
    assert shapes_of(ct.explain(model.get_layer("up1"), **shape)) == [UP1]
    own = ct.keras.layers.Conv1DTranspose(4, 6, 3, "same", activation="tanh", groups=2)
    (one,) = ct.explain(own, input_shape=[1, 9, 8], seconds=0).to_dict()["convolutions"]
    assert (one["op"], one["accelerate"]) == ("ConvTransposeND", "is this op")
    assert one["filter_shape"] == [6, 2, 8]
    assert (one["groups"], one["bias"], one["activation"]) == (2, True, "tanh")


def test_accelerated_and_frozen_models(folder, tmp_path):
    ct.saved_model.accelerate(
        folder / "saved_model", tmp_path / "frozen", freeze=True, seconds=0, report=len
    )
    found = ct.explain(tmp_path / "frozen", input_shape=[2, 5, 7, 6], seconds=0)
    assert shapes_of(found) == [UP1, UP2]
    assert all(one.call.filter_is_constant for one in found.convolutions)
    assert {one.verdict() for one in found.convolutions} == {"is this op"}
    assert found.convolutions[0].call.activation == "relu"


def test_one_dimensional_ones_and_loops(tmp_path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([1, 6, 2])])
    def call(x):
        filters = tf.constant(np.ones([4, 3, 2], np.float32))
        y = tf.nn.conv1d_transpose(x, filters, [1, 12, 3], 2)
        z = tf.while_loop(
            lambda i, z: i < 2,
            lambda i, z: (i + 1, z + tf.nn.conv1d_transpose(x, filters, [1, 12, 3], 2)),
            (0, y),
        )
        return z[1]

    module.call = call
    tf.saved_model.save(module, str(tmp_path / "loop"), signatures=call)
    found = ct.explain(tmp_path / "loop", seconds=0)
    (one,) = found.convolutions
    assert one.call.input_shape == [1, 6, 2]
    assert one.call.filter_shape == [4, 3, 2]
    assert one.call.output_shape == [1, 12, 3]
    assert (one.call.strides, one.call.filter_is_constant) == ([2], True)
    (note,) = found.notes
    assert "1 in " in note
    assert "a loop, a branch or XLA" in note


def test_what_accelerate_leaves_alone_is_said(tmp_path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([1, 6, 6, 2])])
    def call(x):
        filters = tf.ones([4, 4, 3, 2])
        here = tf.nn.conv2d_transpose(x, filters, [1, 12, 12, 3], 2)
        with tf.device("/device:GPU:0"):
            there = tf.nn.conv2d_transpose(x, filters, [1, 18, 18, 3], 3)
        return {"here": here, "there": there}

    module.call = call
    tf.saved_model.save(module, str(tmp_path / "placed"), signatures=call)
    found = ct.explain(tmp_path / "placed", seconds=0)
    by_length = {one.call.output_shape[1]: one for one in found.convolutions}
    assert by_length[12].verdict() == "would become this op"
    assert by_length[18].verdict().startswith("left alone: placed on /device:GPU:0")
    assert found.total()["rewritable"] == 1


def test_a_model_without_any(tmp_path):
    module = tf.Module()
    module.call = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec([2])])
    tf.saved_model.save(module, str(tmp_path / "none"), signatures=module.call)
    found = ct.explain(tmp_path / "none")
    assert found.convolutions == ()
    assert found.notes == ("no transposed convolution was found",)
    assert "nothing to rewrite" in str(found)
    assert "no transposed convolution" in found.to_html()


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (([1, 2, 2, 2, 2, 3], [2, 2, 2, 2, 4, 3]), "over 4 axes"),
        (([1, 4, 4, 2], [3, 3, 2, 2], None, 2, "SAME_LOWER"), "stock TensorFlow: "),
    ],
)
def test_what_stock_tensorflow_lacks_is_said(arguments, note):
    found = ct.explain(*arguments, seconds=0.01)
    (one,) = found.to_dict()["convolutions"]
    assert one["stock_ms"] is None
    assert note in one["stock_note"]
    assert one["ours_ms"] > 0
    assert one["stock_note"] in str(found)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_every_dtype(dtype):
    found = ct.explain([1, 4, 4, 2], [3, 3, 2, 2], strides=2, dtype=dtype, seconds=0.01)
    (one,) = found.to_dict()["convolutions"]
    assert one["ours_ms"] > 0
    assert (one["bound_ms"] is None) == (dtype == "int32")


def test_results_that_differ_are_said(monkeypatch):
    wrong = {**measure._STOCK, 2: lambda *a, **k: tf.nn.conv2d_transpose(*a, **k) * 1.01}
    monkeypatch.setattr(measure, "_STOCK", wrong)
    (one,) = ct.explain([1, 4, 4, 2], [3, 3, 2, 2], seconds=0.01).convolutions
    assert "the results differ by 0.0" in one.times.stock_note


def test_progress_counts_up_to_the_total(folder):
    seen = []
    ct.explain([1, 4, 2], [3, 2, 2], seconds=0, progress=lambda *step: seen.append(step))
    done, total, _ = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert all(d <= t for d, t in zip(done, total, strict=True))


@pytest.mark.parametrize(
    ("target", "arguments", "error", "match"),
    [
        (3, {}, TypeError, "target must be a path, a Keras layer or model"),
        ("no/such/folder", {}, FileNotFoundError, "target must be a SavedModel or a .keras file"),
        ([1, 4, 2], {}, ValueError, "filter_shape must be given"),
        ([1, 4], {"filter_shape": [3, 2]}, ValueError, "must have 3 to 8 values"),
        ([1, 4, 2], {"filter_shape": [3, 2, 5]}, ValueError, "in_channels"),
        ([1, 4, 2], {"filter_shape": [3, 2, 2], "strides": 0}, ValueError, r"strides\[1\] must"),
        ([1, 4, 2], {"filter_shape": [3, 2, 2], "dtype": "int8"}, ValueError, "dtype must be"),
        ([1, 4, 2], {"filter_shape": [3, 2, 2], "input_shape": [1]}, ValueError, "left out"),
        ([1, 4, 2], {"filter_shape": [3, 2, 2], "seconds": -1}, ValueError, "seconds must be >= 0"),
        ("SAVED", {"strides": 2}, ValueError, "strides goes with the shape of an input"),
        ("SAVED", {"filter_shape": [3]}, ValueError, "filter_shape goes with"),
        ("SAVED", {"input_shape": [2, 5, 7, 4]}, ValueError, "input_shape of .* must fit"),
        ("EMPTY", {}, FileNotFoundError, "must hold saved_model.pb"),
        ("DAMAGED", {}, ValueError, "cannot be loaded by Keras"),
    ],
)
def test_wrong_calls_are_refused(folder, tmp_path, target, arguments, error, match):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.keras").write_text("no zip file", encoding="utf-8")
    places = {
        "SAVED": folder / "saved_model",
        "EMPTY": tmp_path / "empty",
        "DAMAGED": tmp_path / "damaged.keras",
    }
    with pytest.raises(error, match=match):
        ct.explain(places.get(target, target) if isinstance(target, str) else target, **arguments)


def test_a_layer_needs_the_shape_of_its_input():
    with pytest.raises(ValueError, match=r"input_shape .* must be given"):
        ct.explain(keras.layers.Conv2DTranspose(3, 3))


def test_the_table_with_rich_and_without(explained, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "250")
    explained.show()
    rich = capsys.readouterr().out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    explained.show()
    plain = capsys.readouterr().out
    assert plain.strip() == str(explained)
    for row in text.rows(explained):
        for cell in row:
            assert cell in rich
            assert cell in plain
    assert "accelerate would rewrite 2: " in rich


@pytest.mark.parametrize("taps", [1, 2, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 2), (2, 2), (4, 3)])
@pytest.mark.parametrize("pad", [0, 2])
def test_phase_diagrams_show_every_product(taps, stride, dilation, pad):
    n, out = 6, max(1, 5 * stride + (taps - 1) * dilation + 1 - pad)
    picture = pictures._axis("", stride, dilation, taps, pad, n, out)
    shown = len(re.findall('<rect class="output"', picture))
    assert 0 < shown <= out
    products = [
        k
        for o, k, i in itertools.product(range(shown), range(taps), range(n))
        if i * stride + k * dilation - pad == o
    ]
    drawn = re.findall(r'<text class="tap"[^>]*>(\d+)<', picture)
    assert sorted(map(int, drawn)) == sorted(products)
    inputs = {
        i
        for o, k, i in itertools.product(range(shown), range(taps), range(n))
        if i * stride + k * dilation - pad == o
    }
    assert len(re.findall('<rect class="input"', picture)) == len(inputs)
    for phase in range(min(stride, out)):
        own = [k for k in range(taps) if (k * dilation) % stride == phase]
        listed = re.search(rf"phase {phase}: (.*?)</li>", picture).group(1)
        assert [int(k) for k in re.findall(r"\d+", listed)] == own


def test_figures_have_three_digits():
    values = [0, 0.0123456, 0.5, 12.3456, 123.456, 98765.4, None, -0.0911]
    expected = ["0", "0.0123", "0.500", "12.3", "123", "98765", "-", "-0.0911"]
    assert [text.figure(v) for v in values] == expected


def test_operands_fit_the_call():
    found = ct.explain([1, 2, 4, 4], [3, 3, 2, 2], data_format="channels_first", seconds=0)
    x, w, b = measure._operands(found.convolutions[0].call)
    assert (x.shape, w.shape, b.shape) == ((1, 2, 4, 4), (3, 3, 2, 2), (2,))
    assert x.dtype == np.float32
    assert math.isfinite(float(x.sum()))
