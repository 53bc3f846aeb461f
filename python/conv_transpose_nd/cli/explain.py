"""`conv-transpose-nd explain TARGET`: how transposed convolutions run here, how fast, and why."""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from typing import Any

from conv_transpose_nd.cli import _progress

EXAMPLE = "conv-transpose-nd explain model.keras --input-shape 1,64,64,3 --html model.html"
# Options that describe a call, and go with a shape as TARGET.
_CALL = (
    *("filter_shape", "output_shape", "strides", "padding", "output_padding", "data_format"),
    *("dilations", "groups", "bias", "activation", "dtype", "filter_is_constant"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `explain`."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="folder of a SavedModel, a .keras file, or the shape of an input: 1,16,16,64",
    )
    parser.add_argument(
        "--input-shape",
        action="append",
        default=[],
        type=_named_shape,
        metavar="SHAPE",
        help="of a model's input, batch included: 1,64,64,3; NAME=1,64,64,3 where it has several",
    )
    parser.add_argument("--html", type=pathlib.Path, metavar="FILE", help="write a page, too")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="timing per transposed convolution; 0 measures nothing (default: %(default)s)",
    )
    parser.add_argument("--threads", type=_positive, help="that ops may use (default: all CPUs)")
    call = parser.add_argument_group("where TARGET is a shape")
    call.add_argument("--filter-shape", type=_integers, metavar="K,...,OUT,IN")
    call.add_argument("--output-shape", type=_integers, metavar="SHAPE")
    call.add_argument("--strides", type=_integers, metavar="N", help="one, or one per axis: 2,2")
    call.add_argument(
        "--padding", type=_padding, help="SAME, VALID, SAME_LOWER, or a pair per axis: 1:0,0:2"
    )
    call.add_argument("--output-padding", type=_integers, metavar="N")
    call.add_argument("--data-format", metavar="FORMAT", help="NHWC, NCHW, ...")
    call.add_argument("--dilations", type=_integers, metavar="N")
    call.add_argument("--groups", type=int)
    call.add_argument("--bias", action="store_true", default=None)
    call.add_argument("--activation", metavar="NAME")
    call.add_argument("--dtype", metavar="NAME")
    call.add_argument(
        "--constant-filter", dest="filter_is_constant", action="store_true", default=None
    )


def run(options: argparse.Namespace) -> int:
    """Runs `ct.explain`; returns 0, or 1 if it could not be done."""
    import conv_transpose_nd

    function = conv_transpose_nd.explain  # raises ImportError without TensorFlow
    if options.threads:
        _use_threads(options.threads)
    target = options.target
    if re.fullmatch(r"\d+(,\d+)+", target) and not pathlib.Path(target).exists():
        target = _integers(target)
    given = {name: getattr(options, name) for name in _CALL if getattr(options, name) is not None}
    try:
        with _progress.bar() as progress:
            found = function(
                target,
                **given,
                input_shape=_input_shape(options.input_shape),
                seconds=options.seconds,
                progress=progress,
            )
        if options.html:
            found.write_html(options.html)
    except (ValueError, OSError) as error:
        print(f"conv-transpose-nd explain: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        found.show()
    return 0


def _use_threads(count: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)


def _input_shape(given: list[tuple[str, list[int]]]) -> Any:
    if not given:
        return None
    return given[0][1] if given[0][0] == "" and len(given) == 1 else dict(given)


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be integers between commas, got {text!r}") from None


def _named_shape(text: str) -> tuple[str, list[int]]:
    name, _, shape = text.rpartition("=")
    return name, _integers(shape)


def _padding(text: str) -> str | list[list[int]]:
    if ":" not in text:
        return text
    try:
        pairs = [[int(part) for part in pair.split(":")] for pair in text.split(",")]
    except ValueError:
        pairs = [[]]
    if any(len(pair) != 2 for pair in pairs):
        raise argparse.ArgumentTypeError(f"must be pairs as 1:0,0:2, got {text!r}")
    return pairs


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, got {text}")
    return int(text)
