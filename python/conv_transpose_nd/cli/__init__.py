"""The command line: `conv-transpose-nd`, equally `python -m conv_transpose_nd`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from conv_transpose_nd.cli import accelerate, bench, completion, demo, explain, info, to_stock

# Name, module, what it does. An example is the module's EXAMPLE.
COMMANDS = (
    ("info", info, "versions, ABI, CPU target and threads"),
    ("demo", demo, "train, save, serve and show a super-resolution generator"),
    ("bench", bench, "speed beside other libraries; bench --help has its options"),
    ("explain", explain, "how transposed convolutions run here, how fast, and why"),
    ("accelerate", accelerate, "rewrite a SavedModel's stock transposed convolutions"),
    ("to-stock", to_stock, "rewrite a SavedModel's ops to stock TensorFlow's"),
    ("completion", completion, "print what completes this command in a shell"),
)
EXIT_CODES = """\
exit codes:
  0    done
  1    could not be done, or its check failed: a message says what
  2    wrong call, or a package is missing: a message says which
  130  interrupted (Ctrl-C)
  141  nobody reads the output any more
  143  terminated
"""
_INTERRUPTED, _BROKEN_PIPE = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: what follows the program's name; None takes them from the command line.

    Returns:
      The exit code, one of EXIT_CODES.
    """
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    # The benchmark's own parser reads what follows its name.
    if rest and options.run is not bench.run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        with _ending_cleanly():
            return int(options.run(options))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has no reader, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except ImportError as error:
        if error.name != "tensorflow":
            raise
        print(f"conv-transpose-nd: {error}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="conv-transpose-nd",
        description="Transposed convolution of any rank for TensorFlow.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, module, summary in COMMANDS:
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example:\n  {module.EXAMPLE}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=module is not bench,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Ends by an exception where the process is terminated, so that what was begun is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
