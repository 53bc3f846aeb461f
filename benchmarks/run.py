"""Times this op and its peers on the suite, side by side.

One process per peer stays up; the peers take turns, and those without the turn stand still, so
that a change of the machine's speed meets all of them and nothing else runs. A result counts only
if it equals that of the NumPy module, which the tests hold against plain loops. Example:

    python -m benchmarks.run --only dcgan64,unet --threads 1,2 --json results.json

Figures are written after every case; the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

from benchmarks import peers as registry
from benchmarks import report, results, scaling
from benchmarks.measure import Settings, measure, operand_folder
from benchmarks.process import START_SECONDS, Peer
from benchmarks.workload import DTYPES, OPERATIONS, Case, Workload, load_suite
from conv_transpose_nd._machine import Machine, describe, measure_machine
from conv_transpose_nd.cli import _progress

STDOUT = pathlib.Path("-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns 1 if a result was wrong, or if this op failed."""
    options = _parse(arguments)
    path = options.json
    figures = results.Results()
    if path and path.exists() and not options.fresh:
        figures = results.read(path)
    figures.machine = describe()
    figures.settings = {"seconds": options.seconds, "turns": options.turns, "limit": options.limit}
    settings = Settings(options.seconds, options.turns, options.limit)
    for threads in options.threads:
        _run_threads(options, threads, settings, figures)
    print(json.dumps(figures.to_json()) if options.json_to_stdout else report.markdown(figures))
    if path:
        figures.write(path)
        report.write(figures, path)
    return 1 if report.failures(figures) else 0


def _run_threads(
    options: argparse.Namespace, threads: int, settings: Settings, figures: results.Results
) -> None:
    """All cases with one number of threads."""
    plans = list(_plan(options, threads, figures))
    if not plans and not options.scaling:
        return
    machine = measure_machine(threads)
    figures.limits[str(threads)] = {"gflops": machine.gflops, "copy": machine.copy}
    figures.limits[str(threads)]["isa"] = machine.isa
    peers: dict[str, Peer] = {}
    try:
        if options.scaling:
            core = Peer(registry.ORACLE, threads)
            peers[core.name] = core
            figures.scaling += scaling.measure(core, threads, settings, machine)
            _save(options, figures)
        names = dict.fromkeys([registry.ORACLE, *options.peers])
        peers |= {name: Peer(name, threads) for name in names if name not in peers}
        if plans:
            _versions(peers, figures)
            _run_cases(options, plans, peers, settings, machine, figures)
    finally:
        for peer in peers.values():
            peer.close()


def _run_cases(
    options: argparse.Namespace,
    plans: list[tuple[Workload, str, str, int]],
    peers: dict[str, Peer],
    settings: Settings,
    machine: Machine,
    figures: results.Results,
) -> None:
    with _progress.bar() as progress:
        for index, (workload, operation, dtype, threads) in enumerate(plans):
            progress(index, len(plans), f"{workload.name}, {operation}, {dtype}, {threads} threads")
            with operand_folder() as folder:
                case = Case(workload, operation, dtype, threads, pathlib.Path(folder))
                figures.add(measure(case, peers, settings, machine))
            _save(options, figures)
            if options.verbose:
                line = report.progress(figures.cases[-1])
                print(f"[{index + 1}/{len(plans)}] {line}", file=sys.stderr)


def _versions(peers: dict[str, Peer], figures: results.Results) -> None:
    """Starts all processes at once, and asks for their libraries' versions."""
    for peer in peers.values():
        peer.send(version=True)
    for name, peer in peers.items():
        figures.versions[name] = peer.receive(START_SECONDS).get("version", "unknown")


def _save(options: argparse.Namespace, figures: results.Results) -> None:
    if options.json:
        figures.write(options.json)


def _plan(
    options: argparse.Namespace, threads: int, figures: results.Results
) -> Iterator[tuple[Workload, str, str, int]]:
    """What is to be measured, less what the file has."""
    if options.scaling:
        return
    for dtype in options.dtypes:
        for operation in options.operations:
            for workload in load_suite(options.only):
                key = workload.name, operation, dtype, threads
                if not figures.has(key, options.peers):
                    yield workload, operation, dtype, threads


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    several = {"help": "comma-separated"}
    parser.add_argument("--only", default="", help="parts of workload names, comma-separated")
    parser.add_argument("--operations", default="forward", help=", ".join(OPERATIONS))
    parser.add_argument("--dtypes", default="float32", help=", ".join(DTYPES))
    parser.add_argument("--threads", default="1", help="numbers of threads, comma-separated")
    parser.add_argument("--peers", default=",".join(registry.DEFAULT), **several)
    parser.add_argument(
        "--constant-filter",
        action="store_true",
        help="also the peers that take the filter as an argument, with a constant one",
    )
    parser.add_argument("--scaling", action="store_true", help="only: sizes grown thousandfold")
    parser.add_argument("--seconds", type=float, default=0.2, help="per peer and case")
    parser.add_argument("--turns", type=int, default=5, help="that each peer gets per case")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="seconds to prepare a case, at most"
    )
    parser.add_argument(
        "--json",
        type=pathlib.Path,
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="write figures to FILE, beside it .md and .svg; without FILE print them",
    )
    parser.add_argument("--verbose", action="store_true", help="a line per case on stderr")
    parser.add_argument("--fresh", action="store_true", help="measure again what the file has")
    return parser


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    options = parser.parse_args(arguments)
    options.json_to_stdout = options.json == STDOUT
    if options.json_to_stdout:
        options.json = None
    options.operations = _choices(parser, "--operations", options.operations, OPERATIONS)
    options.dtypes = _choices(parser, "--dtypes", options.dtypes, DTYPES)
    options.peers = _choices(parser, "--peers", options.peers, tuple(registry.PEERS))
    if options.constant_filter:
        options.peers += [n for n in registry.CONSTANT_VARIANTS if n not in options.peers]
    if not all(text.isdigit() and int(text) > 0 for text in options.threads.split(",")):
        parser.error(f"--threads must be numbers above 0, got {options.threads!r}")
    options.threads = [int(text) for text in options.threads.split(",")]
    for name in ("seconds", "turns", "limit"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} must be above 0, got {getattr(options, name)}")
    if not options.scaling and not load_suite(options.only):
        parser.error(f"--only must match a workload's name, got {options.only!r}")
    return options


def _choices(
    parser: argparse.ArgumentParser, option: str, text: str, known: tuple[str, ...]
) -> list[str]:
    chosen = text.split(",")
    for value in chosen:
        if value not in known:
            parser.error(f"{option} must be of {', '.join(known)}; got {value!r}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
