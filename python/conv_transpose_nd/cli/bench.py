"""`conv-transpose-nd bench`: speed beside other libraries, from a source checkout."""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
from collections.abc import Sequence

import conv_transpose_nd

EXAMPLE = "conv-transpose-nd bench --only dcgan64,unet --threads 1,2 --json figures.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares no option: all that follows `bench` goes to `python -m benchmarks.run`."""


def run(options: argparse.Namespace) -> int:
    """Runs the benchmark of the source tree; returns its exit code, or 2 if there is none."""
    if import_source() is None:
        if {"-h", "--help"} & set(options.rest):
            options.parser.print_help()
            return 0
        print(
            "conv-transpose-nd bench: the benchmark is in the source tree, in benchmarks/, not in "
            "the installed package. Run this command in a checkout, equally "
            "`python -m benchmarks.run`",
            file=sys.stderr,
        )
        return 2
    return int(importlib.import_module("benchmarks.run").main(options.rest))


def import_source() -> pathlib.Path | None:
    """Makes `benchmarks` importable; the checkout's root, or None if there is none."""
    root = find_source(
        [
            pathlib.Path.cwd(),
            # python/conv_transpose_nd/__init__.py of a checkout
            pathlib.Path(conv_transpose_nd.__file__).resolve().parents[2],
        ]
    )
    if root is not None and str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root


def find_source(folders: Sequence[pathlib.Path]) -> pathlib.Path | None:
    """The first of the folders that is a checkout's root."""
    for folder in folders:
        if all((folder / "benchmarks" / name).is_file() for name in ("run.py", "suite.json")):
            return folder
    return None
