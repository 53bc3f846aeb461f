"""The command line: `conv-transpose-nd`, equally `python -m conv_transpose_nd`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from conv_transpose_nd.cli import accelerate, bench, demo, info, to_stock


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: what follows the program's name; None takes them from the command line.

    Returns:
      The exit code: 0 for success, 1 if the command's check failed, 2 for a wrong call or a
      missing package.
    """
    parser = argparse.ArgumentParser(
        prog="conv-transpose-nd", description="Transposed convolution of any rank for TensorFlow."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, module, summary in (
        ("info", info, "versions, ABI, CPU target and threads"),
        ("demo", demo, "train, save, serve and show a super-resolution generator"),
        ("bench", bench, "speed beside other libraries; bench --help has its options"),
        ("accelerate", accelerate, "rewrite a SavedModel's stock transposed convolutions"),
        ("to-stock", to_stock, "rewrite a SavedModel's ops to stock TensorFlow's"),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            add_help=module is not bench,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options, rest = parser.parse_known_args(arguments)
    # The benchmark's own parser reads what follows its name.
    if rest and options.run is not bench.run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    return int(options.run(options))
