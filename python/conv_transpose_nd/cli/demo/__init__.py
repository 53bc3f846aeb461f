"""`conv-transpose-nd demo`: trains, saves, serves and shows a super-resolution generator.

model.py (the network) <- training.py <- data.py (photographs); export.py writes the SavedModels,
fresh_process.py serves them, evaluation.py judges, sheet.py draws.

Importing this package imports neither Pillow nor the photographs' packages; running it does.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conv_transpose_nd.cli import _progress

if TYPE_CHECKING:
    from conv_transpose_nd.cli.demo.evaluation import Judged

# Packages of the extras `tensorflow` and `demo`, by import name.
_NEEDS = ("tensorflow", "PIL", "rich", "skimage", "sklearn")
_REPEATS = 15
EXAMPLE = "conv-transpose-nd demo --seconds 120 --output demo-output"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `demo`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="directory to write to (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=60.0,
        help="how long to train, in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights and patches (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Runs the demo.

    Returns:
      0 if the generator beats bicubic on every held-out picture and equals stock TensorFlow within
      rounding, 1 if not, 2 if packages are missing.
    """
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        extras = "tensorflow,demo" if "tensorflow" in missing else "demo"
        repair = f"pip install 'conv-transpose-nd[{extras}]'"
        print(f"conv-transpose-nd demo needs {', '.join(missing)}: {repair}", file=sys.stderr)
        return 2
    from conv_transpose_nd.cli.demo.evaluation import DemoError, complaints

    try:
        steps, judged, sheet, saved_model = _train_and_judge(options)
    except DemoError as error:
        print(f"conv-transpose-nd demo: {error}", file=sys.stderr)
        return 1
    result = _result(judged, steps, sheet, saved_model)
    print(json.dumps(result, indent=2) if options.json else _report(result))
    failures = complaints(judged)
    for failure in failures:
        print(f"conv-transpose-nd demo: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _train_and_judge(options: argparse.Namespace) -> tuple[int, list[Judged], Path, Path]:
    from conv_transpose_nd.cli.demo import data, evaluation, export, sheet
    from conv_transpose_nd.cli.demo.model import Generator
    from conv_transpose_nd.cli.demo.progress import training_report
    from conv_transpose_nd.cli.demo.training import train

    options.output.mkdir(parents=True, exist_ok=True)
    model = Generator(options.seed)
    with _progress.bar() as update:
        update(0, None, "reading pictures")
        report = training_report(options.seconds, update)
        steps = train(model, options.seconds, options.seed, report)
        update(0, None, "saving")
        paths = export.save(model, options.output)
        update(0, None, "serving the pictures from a fresh process")
        judged = evaluation.evaluate(model, paths, data.held_out(), _REPEATS)
    picture = options.output / "sheet.png"
    sheet.draw(judged, picture)
    return steps, judged, picture, paths[0]


def _result(judged: list[Judged], steps: int, sheet: Path, saved_model: Path) -> dict[str, Any]:
    times = [
        sum(column) / len(judged) for column in zip(*(one.times for one in judged), strict=True)
    ]
    return {
        "steps": steps,
        "pictures": {
            one.pair.name: {"psnr_bicubic_db": one.psnr_bicubic, "psnr_ours_db": one.psnr_ours}
            for one in judged
        },
        "mean_psnr_bicubic_db": sum(one.psnr_bicubic for one in judged) / len(judged),
        "mean_psnr_ours_db": sum(one.psnr_ours for one in judged) / len(judged),
        "generator_seconds": _compared(times[0], times[1]),
        "last_layer_seconds": _compared(times[2], times[3]),
        "difference_over_tolerance": max(one.difference for one in judged),
        "sheet": str(sheet),
        "saved_model": str(saved_model),
    }


def _compared(ours: float, stock: float) -> dict[str, float]:
    return {"ours": ours, "stock": stock, "stock_over_ours": stock / ours}


def _report(result: dict[str, Any]) -> str:
    lines = [f"held-out pictures after {result['steps']} steps, PSNR of luminance in dB:"]
    lines.append(f"  {'':12}{'bicubic':>9}{'this op':>9}")
    for name, one in result["pictures"].items():
        lines.append(f"  {name:12}{one['psnr_bicubic_db']:9.2f}{one['psnr_ours_db']:9.2f}")
    lines.append(
        f"  {'mean':12}{result['mean_psnr_bicubic_db']:9.2f}{result['mean_psnr_ours_db']:9.2f}"
    )
    lines.append("time per frame in the fresh process (interleaved medians, mean of the pictures):")
    lines += [_time_line("whole generator", result["generator_seconds"])]
    lines += [_time_line("its last layer", result["last_layer_seconds"])]
    share = result["difference_over_tolerance"]
    lines.append(
        f"outputs of both equal: greatest difference is {share:.2%} of the float32 rounding bound"
    )
    lines.append(f"SavedModel: {result['saved_model']}")
    lines.append(f"pictures:   {result['sheet']}")
    return "\n".join(lines)


def _time_line(what: str, seconds: dict[str, float]) -> str:
    ours, stock = 1e3 * seconds["ours"], 1e3 * seconds["stock"]
    ratio = seconds["stock_over_ours"]
    return f"  {what:16}this op {ours:7.2f} ms, stock TF {stock:7.2f} ms, stock/this {ratio:.2f}"


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be > 0, got {text}")
    return value
