"""What `accelerate` and `to-stock` share: options, error messages, output."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from conv_transpose_nd.cli import _progress


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
    parser.add_argument(
        "--json", action="store_true", help="print the report as one JSON object, at the end"
    )


def run(rewrite: Callable[..., Any], options: argparse.Namespace, **extra: Any) -> int:
    """Calls `rewrite`; returns 0, or 1 after a message if it could not be done."""
    try:
        with _progress.bar() as progress:

            def report(line: str) -> None:
                progress(0, None, line.partition(":")[0])
                if not options.json:
                    print(line, flush=True)

            progress(0, None, f"reading {options.src}")
            found = rewrite(
                options.src,
                options.dst,
                check=options.check,
                tolerance=options.tolerance,
                seconds=options.seconds,
                report=report,
                **extra,
            )
    except (ValueError, OSError) as error:
        print(f"conv-transpose-nd: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"dst": options.dst, **dataclasses.asdict(found)}, indent=2))
    return 0
