"""`conv-transpose-nd info`: what is installed, and which instruction set runs."""

from __future__ import annotations

import argparse

import conv_transpose_nd
from conv_transpose_nd import core


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `info`: none."""


def run(options: argparse.Namespace) -> int:
    """Prints `show_versions()` and the CPU targets; returns 0."""
    conv_transpose_nd.show_versions()
    print(
        f"targets this CPU runs, best first: {', '.join(core.targets())}; in use: {core.target()}"
    )
    return 0
