"""Two SavedModels under load: latency, throughput and memory, side by side.

python scripts/load.py stock=MODEL ours=FASTER --clients 64 --seconds 180 --intra-op-threads 2

Each model is served by a process of its own, by turns: CLIENTS threads call its signature with
inputs of mixed sizes, one after the other, as fast as they get answers. Takes SECONDS per model in
all. Times are those of a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path


def serve(options: argparse.Namespace, seconds: float) -> dict[str, float]:
    """What one process measures: serves MODEL for `seconds`."""
    import numpy as np
    import tensorflow as tf

    import conv_transpose_nd  # noqa: F401  loads the op

    tf.config.threading.set_intra_op_parallelism_threads(options.intra_op_threads)
    model = tf.saved_model.load(options.models[0])
    function = model.signatures[options.signature]
    (_, specs) = function.structured_input_signature
    inputs = [
        {key: random_input(np, tf, spec, size) for key, spec in specs.items()}
        for size in options.sizes
    ]
    for _ in range(3):  # traces, allocates and, in each thread pool, starts
        for given in inputs:
            function(**given)
    latencies: list[list[float]] = [[] for _ in range(options.clients)]
    failures: list[str] = []
    start = time.perf_counter()

    def client(number: int) -> None:
        choice = random.Random(number)
        try:
            while time.perf_counter() < start + seconds:
                begin = time.perf_counter()
                for output in function(**choice.choice(inputs)).values():
                    output.numpy()
                latencies[number].append(time.perf_counter() - begin)
        except Exception as error:
            failures.append(str(error))

    threads = [threading.Thread(target=client, args=[n]) for n in range(options.clients)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append(resident_mb())
        time.sleep(0.2)
    if failures:
        raise SystemExit(f"{len(failures)} clients failed: {failures[0]}")
    elapsed = time.perf_counter() - start
    every = np.concatenate([np.array(part) for part in latencies])
    # The first fifth fills the allocator's pools, one region per thread that runs.
    settled = memory[len(memory) // 5 :]
    return {
        "requests": len(every),
        "per_second": len(every) / elapsed,
        "p50_ms": 1e3 * float(np.percentile(every, 50)),
        "p99_ms": 1e3 * float(np.percentile(every, 99)),
        "memory_mb": float(np.median(settled)),
        "growth_mb": float(np.mean(settled[-5:]) - np.mean(settled[:5])),
    }


def random_input(np, tf, spec, size):  # type: ignore[no-untyped-def]
    """Unknown lengths are `size`; the batch is 1."""
    dims = [d or (1 if axis == 0 else size) for axis, d in enumerate(spec.shape.as_list())]
    return tf.constant(np.random.default_rng(size).standard_normal(dims), spec.dtype)


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measured(path: str, seconds: float, arguments: list[str]) -> dict[str, float]:
    """One round in a new process."""
    command = [sys.executable, __file__, path, "--serve", "--seconds", str(seconds), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Reads the command line; serves, or lets others serve and prints what they measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=180, help="per model, in all")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96])
    parser.add_argument("--intra-op-threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        print(json.dumps(serve(options, options.seconds)))
        return
    names = dict(argument.split("=", 1) for argument in options.models)
    arguments = ["--signature", options.signature, "--clients", str(options.clients)]
    arguments += ["--intra-op-threads", str(options.intra_op_threads)]
    arguments += ["--sizes", *map(str, options.sizes)]
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    print(f"{'':<10}{'requests':>10}{'1/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'MB':>8}{'growth':>8}")
    for _ in range(options.rounds):
        for name, path in names.items():
            f = measured(path, options.seconds / options.rounds, arguments)
            figures[name].append(f)
            print(
                f"{name:<10}{f['requests']:>10.0f}{f['per_second']:>8.1f}{f['p50_ms']:>9.2f}"
                f"{f['p99_ms']:>9.2f}{f['memory_mb']:>8.0f}{f['growth_mb']:>8.1f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
