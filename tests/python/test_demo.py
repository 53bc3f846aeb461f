"""The demo: its parts on small input, and the whole of it with a few seconds of training."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from conv_transpose_nd.cli import _progress, main
from conv_transpose_nd.cli.demo import data, evaluation, export, model, sheet, training

SECONDS = 8


class Finished(NamedTuple):
    code: int
    result: dict
    errors: str
    output: Path
    shown: list[tuple[float, float | None, str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    output = tmp_path_factory.mktemp("demo") / "made" / "by it"
    stdout, stderr = io.StringIO(), io.StringIO()
    shown: list[tuple[float, float | None, str]] = []

    @contextlib.contextmanager
    def bar() -> Iterator[object]:
        yield lambda done, total, what: shown.append((done, total, what))

    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        patch.setattr(_progress, "bar", bar)
        code = main(["demo", "--seconds", str(SECONDS), "--json", "--output", str(output)])
    return Finished(code, json.loads(stdout.getvalue()), stderr.getvalue(), output, shown)


def test_it_beats_bicubic_on_every_held_out_picture(finished: Finished) -> None:
    assert finished.code == 0, finished.errors
    pictures = finished.result["pictures"]
    assert set(pictures) == {name.partition(".")[0] for name in data.HELD_OUT}
    assert all(one["psnr_ours_db"] > one["psnr_bicubic_db"] for one in pictures.values())


def test_this_op_equals_stock_within_rounding(finished: Finished) -> None:
    assert 0 <= finished.result["difference_over_tolerance"] <= 1
    for part in ("generator_seconds", "last_layer_seconds"):
        times = finished.result[part]
        assert times["stock_over_ours"] == pytest.approx(times["stock"] / times["ours"])


def test_it_shows_how_far_it_is(finished: Finished) -> None:
    steps = [(done, total) for done, total, what in finished.shown if what.startswith("training")]
    assert len(steps) == finished.result["steps"]
    assert {total for _, total in steps} == {SECONDS}
    assert sorted(steps) == steps
    assert finished.shown[-1][2].startswith("serving")
    assert "training" not in finished.errors


def test_the_sheet_has_four_columns_of_whole_pictures(finished: Finished) -> None:
    with Image.open(finished.output / "sheet.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).astype(int)
    pairs = data.held_out()
    widest = max(pair.original.shape[1] for pair in pairs)
    assert pixels.shape[1] == 4 * (widest + sheet.GAP) + sheet.GAP
    first = Image.fromarray(pairs[0].original, "YCbCr").convert("RGB")
    left = sheet.GAP + 3 * (widest + sheet.GAP)
    top = sheet.GAP + sheet.LABEL
    shown = pixels[top : top + first.height, left : left + first.width]
    np.testing.assert_array_equal(shown, np.asarray(first))
    border = [pixels[: sheet.GAP // 2], pixels[-4:], pixels[:, : sheet.GAP], pixels[:, -4:]]
    assert all((part == 255).all() for part in border)


def test_the_saved_model_takes_any_batch_and_size(finished: Finished) -> None:
    signature = tf.saved_model.load(str(finished.output / "fsrcnn")).signatures["serving_default"]
    for shape in ((2, 5, 7, 1), (1, 1, 1, 1), (1, 40, 3, 1)):
        (output,) = signature(tf.zeros(shape)).values()
        assert output.shape == (shape[0], 3 * shape[1], 3 * shape[2], 1)


def test_the_saved_model_holds_this_op_once_and_no_stock_one(finished: Finished) -> None:
    stock = "Conv2DBackpropInput"
    for name, present, absent in (
        ("fsrcnn", "ConvTransposeND", stock),
        ("fsrcnn_stock", stock, "ConvTransposeND"),
    ):
        loaded = tf.saved_model.load(str(finished.output / name))
        graph = loaded.upscale.get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        ops = {node.op for node in nodes}
        assert present in ops
        assert absent not in ops


def test_the_fresh_process_needs_the_library_and_nothing_else(finished: Finished) -> None:
    program = "import sys, tensorflow as tf\ntf.saved_model.load(sys.argv[1])"
    process = subprocess.run(
        [sys.executable, "-c", program, str(finished.output / "fsrcnn")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode != 0
    assert "ConvTransposeND" in process.stderr
    source = Path(evaluation.__file__).with_name("fresh_process.py").read_text(encoding="utf-8")
    assert "import conv_transpose_nd" not in source
    assert "from conv_transpose_nd" not in source


def test_a_result_that_is_no_better_than_bicubic_or_unequal_is_a_complaint() -> None:
    pair = data.make_pair("grey", Image.new("RGB", (9, 9), (90, 90, 90)))
    plane = pair.original[..., 0]
    good = evaluation.Judged(pair, plane, plane, 10.0, 20.0, 21.0, 0.5, (1.0, 1.0, 1.0, 1.0))
    assert evaluation.complaints([good]) == []
    (message,) = evaluation.complaints([dataclasses.replace(good, psnr_ours=20.0)])
    assert message.startswith("grey: 20.00 dB must be above bicubic's 20.00 dB")
    (message,) = evaluation.complaints([dataclasses.replace(good, difference=float("nan"))])
    assert "must be <= 1" in message


def test_the_exit_code_is_1_where_the_demo_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: [])
    monkeypatch.setattr(evaluation, "complaints", lambda _: ["chelsea: worse"])
    monkeypatch.setattr(sheet, "draw", lambda *_: None)
    monkeypatch.setattr("conv_transpose_nd.cli.demo._result", lambda *_: {})
    assert main(["demo", "--seconds", "0.01", "--json", "--output", str(tmp_path)]) == 1
    assert "chelsea: worse" in capsys.readouterr().err


def test_the_untrained_generator_is_aligned_with_bicubic() -> None:
    pair = data.make_pair("coffee", data.photograph("coffee.png"))
    small = pair.small[..., 0]
    expected = data.bicubic(small, *pair.original.shape[:2])
    output = 255 * model.Generator(0)(evaluation.as_batch(small)).numpy()[0, :, :, 0]
    inner = np.s_[30:-30, 30:-30]
    errors = {
        (row, column): float(
            np.mean((np.roll(output, (row, column), (0, 1)) - expected)[inner] ** 2)
        )
        for row in (-1, 0, 1)
        for column in (-1, 0, 1)
    }
    assert min(errors, key=lambda shift: errors[shift]) == (0, 0)
    # No preferred direction either: shifting left costs about what shifting right does.
    assert errors[0, 1] == pytest.approx(errors[0, -1], rel=0.1)
    assert errors[1, 0] == pytest.approx(errors[-1, 0], rel=0.1)


def test_both_last_layers_are_the_same_function() -> None:
    generator = model.Generator(3)
    stock = generator.with_transpose(model.stock_transpose)
    pictures = np.random.default_rng(0).random((2, 6, 9, 1), np.float32)
    features = generator.padded_features(pictures)
    bound = evaluation._TOLERANCE * generator.magnitude(features).numpy()
    difference = abs(generator(pictures) - stock(pictures)).numpy()
    assert np.all(difference <= bound)


def test_equal_seeds_give_equal_weights_and_patches() -> None:
    first, second, other = (model.Generator(seed) for seed in (1, 1, 2))
    for mine, its in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(mine, its)
    assert not np.array_equal(first.tail_filter, other.tail_filter)
    pairs = [data.make_pair("rocket", data.photograph("rocket.jpg"))]
    batches = [data.Patches(pairs, 8, model.MARGIN, 5).batch(3) for _ in range(2)]
    np.testing.assert_array_equal(batches[0][0], batches[1][0])
    np.testing.assert_array_equal(batches[0][1], batches[1][1])


def test_patches_and_targets_show_the_same_place() -> None:
    pairs = [data.make_pair("astronaut", data.photograph("astronaut.png"))]
    inputs, targets = data.Patches(pairs, 16, model.MARGIN, 0).batch(8)
    assert inputs.shape == (8, 30, 30, 1)
    assert targets.shape == (8, 48, 48, 1)
    inner = inputs[:, model.MARGIN : -model.MARGIN, model.MARGIN : -model.MARGIN, 0]
    means = targets[..., 0].reshape(8, 16, 3, 16, 3).mean((2, 4))
    assert np.mean(abs(inner - means)) < 0.25 * np.mean(abs(inner - means[:, ::-1, ::-1]))


def test_held_out_pictures_are_not_trained_on() -> None:
    assert not set(data.HELD_OUT) & set(data.TRAINING)


def test_the_learning_rate_rises_and_ends_at_zero() -> None:
    assert training.schedule(0) == 0
    assert training.schedule(training.WARM_UP) == pytest.approx(1)
    assert training.schedule(1) == pytest.approx(0)


def test_psnr_follows_its_formula() -> None:
    black = np.zeros((2, 2), np.uint8)
    assert evaluation.psnr(black, black) == float("inf")
    assert evaluation.psnr(black + np.uint8(255), black) == 0
    assert evaluation.psnr(black + np.uint8(1), black) == pytest.approx(48.1308, abs=1e-4)


def test_export_writes_both_models(tmp_path: Path) -> None:
    ours, stock = export.save(model.Generator(0), tmp_path)
    assert (ours / "saved_model.pb").is_file()
    assert (stock / "saved_model.pb").is_file()
