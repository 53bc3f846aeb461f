"""`conv-transpose-nd accelerate SRC DST`: a SavedModel on this op."""

from __future__ import annotations

import argparse

from conv_transpose_nd.cli import _rewrite

EXAMPLE = "conv-transpose-nd accelerate model faster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `accelerate`."""
    _rewrite.add_arguments(parser)
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="write signatures only, with variables made constants; cannot be trained",
    )


def run(options: argparse.Namespace) -> int:
    """Runs `ct.saved_model.accelerate`; returns 0, or 1 if it could not be done."""
    from conv_transpose_nd import saved_model

    return _rewrite.run(saved_model.accelerate, options, freeze=options.freeze)
