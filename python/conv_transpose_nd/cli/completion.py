"""`conv-transpose-nd completion SHELL`: the script that completes this command there."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import pathlib
import sys

from conv_transpose_nd.cli import bench

SHELLS = ("bash", "zsh", "fish")
EXAMPLE = (
    "conv-transpose-nd completion bash > "
    "~/.local/share/bash-completion/completions/conv-transpose-nd"
)
# Arguments that name a file or folder.
_PATHS = {"target", "src", "dst", "output", "html"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `completion`."""
    parser.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))
    parser.add_argument("--json", action="store_true", help="print the script in a JSON object")


def run(options: argparse.Namespace) -> int:
    """Prints the script; returns 0, or 2 if the package that makes it is missing."""
    if importlib.util.find_spec("shtab") is None:
        print(
            "conv-transpose-nd completion needs shtab: pip install 'conv-transpose-nd[cli]'",
            file=sys.stderr,
        )
        return 2
    text = script(options.shell)
    print(json.dumps({"shell": options.shell, "script": text}) if options.json else text)
    return 0


def script(shell: str) -> str:
    """The script for one of SHELLS."""
    import shtab

    from conv_transpose_nd import cli

    parser = cli.make_parser()
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    _take_over_options_of_the_benchmark(commands.choices["bench"])
    for command in commands.choices.values():
        for action in command._actions:
            takes_path = action.dest in _PATHS or action.type is pathlib.Path
            if takes_path:
                action.complete = shtab.FILE
    return str(shtab.complete(parser, shell=shell))


def _take_over_options_of_the_benchmark(command: argparse.ArgumentParser) -> None:
    """They are in the source tree; an installed package cannot complete them."""
    if bench.import_source() is not None:
        for action in importlib.import_module("benchmarks.run").make_parser()._actions:
            command._add_action(action)
