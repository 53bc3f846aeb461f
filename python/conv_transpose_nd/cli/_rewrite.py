"""What `accelerate` and `to-stock` share: options, error messages, a clean end when interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what both commands take."""
    parser.add_argument("src", metavar="SRC", help="folder of the SavedModel; never changed")
    parser.add_argument("dst", metavar="DST", help="folder to be written; must not exist")
    parser.add_argument(
        "--tolerance", type=float, help="allowed difference, divided by the largest output"
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="timing per signature (default: %(default)s)"
    )
    parser.add_argument(
        "--no-check", dest="check", action="store_false", help="write without having run anything"
    )


def run(rewrite: Callable[..., Any], options: argparse.Namespace, **extra: Any) -> int:
    """Calls `rewrite`; returns 0, or 1 after a message if it could not be done."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        rewrite(
            options.src,
            options.dst,
            check=options.check,
            tolerance=options.tolerance,
            seconds=options.seconds,
            report=_print,
            **extra,
        )
    except (ValueError, OSError) as error:
        print(f"conv-transpose-nd: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _print(line: str) -> None:
    print(line, flush=True)


def _terminate(number: int, frame: FrameType | None) -> None:
    # An exception, so that what was begun is removed.
    raise SystemExit(128 + number)
