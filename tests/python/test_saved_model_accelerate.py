"""`ct.saved_model.accelerate`: SavedModels that stock TensorFlow wrote, on this op.

Every model is built and saved by stock TensorFlow, rewritten on disk, loaded again and compared.
"""

import numpy as np
import pytest
import tensorflow as tf
from accelerate_cases import MODELS, QUICK, STOCK, close, ops

import conv_transpose_nd as ct
from conv_transpose_nd.cli import main


@pytest.mark.parametrize("name", MODELS)
def test_no_stock_op_is_left_and_what_was_done_is_said(accelerated, name):
    folder, reports = accelerated
    assert not ops(folder / name) & STOCK
    report = reports[name]
    assert report.rewritten == len(report.ops) == {"dcgan": 4, "unet": 3, "vocoder": 4}[name]
    taken_over = [op.what.split(", ", 1)[1] for op in report.ops]
    assert (
        taken_over
        == {
            "dcgan": ["2-D, filter that may change"] * 3
            + ["2-D, bias, tanh, filter that may change"],
            "unet": ["2-D, bias, relu, filter that may change"] * 3,
            "vocoder": ["1-D, bias, filter that may change"] * 4,
        }[name]
    )
    assert {timing.name for timing in report.timings} == {"serve", "serving_default"}
    for timing in report.timings:
        assert timing.before_s > 0
        assert timing.after_s > 0
        assert timing.difference <= timing.tolerance == 2.0**-14
        assert f"{timing.before_s / timing.after_s:.2f} times as fast" in str(report)


@pytest.mark.parametrize(
    ("name", "shape"), [("dcgan", [3, 100]), ("unet", [1, 24, 40, 3]), ("vocoder", [2, 9, 80])]
)
def test_outputs_and_gradients_are_those_of_the_stock_model(stock_models, accelerated, name, shape):
    before = tf.saved_model.load(str(stock_models / name))
    after = tf.saved_model.load(str(accelerated[0] / name))
    x = tf.random.stateless_normal(shape, [1, 2])
    values = []
    for model in (before, after):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model.serve(x)
            loss = tf.reduce_sum(tf.square(y))
        values.append((y, *tape.gradient(loss, [x, *model.trainable_variables])))
    assert len(values[0]) == len(values[1]) > 8
    for stock, ours in zip(*values, strict=True):
        # As in `accelerate`: 1024 roundings of the largest number, here of gradients too.
        assert ours is not None
        close(ours, stock, 512, np.max(np.abs(stock)))


def test_round_trip_through_stock_ops(stock_models, accelerated, tmp_path):
    folder = accelerated[0]
    for name in MODELS:
        report = ct.saved_model.to_stock(folder / name, tmp_path / name, **QUICK)
        assert report.rewritten == len(accelerated[1][name].ops)
        assert not [op for op in ops(tmp_path / name) if op.startswith("ConvTranspose")]
        again = ct.saved_model.accelerate(tmp_path / name, tmp_path / f"{name}_again", **QUICK)
        assert [op.what for op in again.ops] == [op.what for op in accelerated[1][name].ops]
    x = tf.random.stateless_normal([1, 5, 80], [3, 4])
    models = [tf.saved_model.load(str(f / "vocoder")) for f in (stock_models, tmp_path)]
    assert np.array_equal(models[0].serve(x), models[1].serve(x))


def test_freeze_marks_filters_and_drops_the_variables(stock_models, tmp_path):
    report = ct.saved_model.accelerate(
        stock_models / "vocoder", tmp_path / "frozen", freeze=True, **QUICK
    )
    assert report.rewritten == len(report.ops) == 8  # the two signatures, each by itself
    assert all("constant filter" in op.what for op in report.ops)
    x = tf.random.stateless_normal([2, 9, 80], [1, 2])
    stock = tf.saved_model.load(str(stock_models / "vocoder"))
    before = stock.signatures["serving_default"]
    loaded = tf.saved_model.load(str(tmp_path / "frozen"))
    after = loaded.signatures["serving_default"]
    key = next(iter(before.structured_input_signature[1]))
    assert after.structured_input_signature[1].keys() == {key}
    expected, got = before(**{key: x}), after(**{key: x})
    assert expected.keys() == got.keys()
    close(got["output_0"], expected["output_0"], 512)
    assert not after.variables


def test_inputs_and_tolerance_of_the_caller(stock_models, tmp_path):
    source = stock_models / "unet"
    key = next(
        iter(tf.saved_model.load(str(source)).signatures["serve"].structured_input_signature[1])
    )
    given = {name: {key: np.ones([1, 16, 8, 3], "f")} for name in ("serve", "serving_default")}
    report = ct.saved_model.accelerate(source, tmp_path / "ours", inputs=given, **QUICK)
    assert {timing.shapes for timing in report.timings} == {"[1, 16, 8, 3]"}
    given["serve"] = {
        key: np.ones([1, 15, 8, 3], "f")
    }  # skips have other lengths than what comes up
    with pytest.raises(ValueError, match="signature serve rejects"):
        ct.saved_model.accelerate(source, tmp_path / "other", inputs=given, **QUICK)
    with pytest.raises(ValueError, match=r"tolerance must be >= 0, got -1"):
        ct.saved_model.accelerate(source, tmp_path / "other", tolerance=-1, **QUICK)
    with pytest.raises(ValueError, match=r"gives other outputs .* allowed are 0; .*Nothing was"):
        ct.saved_model.accelerate(
            stock_models / "vocoder", tmp_path / "other", tolerance=0, **QUICK
        )
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_command_line(forms, stock_models, tmp_path, capsys):
    stock, ours = str(stock_models / "vocoder"), str(tmp_path / "ours")
    assert main(["accelerate", stock, ours, "--seconds", "0"]) == 0
    assert capsys.readouterr().out.count("ConvTransposeND, 1-D, bias") == 4
    assert main(["to-stock", ours, str(tmp_path / "back"), "--no-check"]) == 0
    assert capsys.readouterr().out.count("ConvTransposeND -> ") == 4
    assert main(["accelerate", stock, ours]) == 1
    assert "dst must not exist" in capsys.readouterr().err
