"""`conv-transpose-nd info`: what is installed, and which instruction set runs."""

from __future__ import annotations

import argparse
import json

import conv_transpose_nd
from conv_transpose_nd import core
from conv_transpose_nd._versions import versions

EXAMPLE = "conv-transpose-nd info --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `info`."""
    parser.add_argument("--json", action="store_true", help="print the same as one JSON object")


def run(options: argparse.Namespace) -> int:
    """Prints `show_versions()` and the CPU targets; returns 0."""
    targets, target = core.targets(), core.target()
    if options.json:
        print(json.dumps({**versions(), "targets": targets, "target": target}, indent=2))
        return 0
    conv_transpose_nd.show_versions()
    print(f"targets this CPU runs, best first: {', '.join(targets)}; in use: {target}")
    return 0
