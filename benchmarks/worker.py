"""A process that runs one peer. Reads commands as JSON lines, writes one JSON line each.

{"prepare": workload name, "operation": ...}  -> {"ok": true} or {"unsupported": reason}
{"time": repeats}                             -> {"seconds": [...]}
{"result": path}                              -> {"ok": true}: the result as a .npy file
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def main(peer: str, threads: int) -> None:
    """Serves commands until the input ends."""
    if peer == "tensorflow_onednn_off":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Libraries print to stdout, too: answers go to a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    state: dict[str, Any] = {}
    for line in sys.stdin:
        print(
            json.dumps(answer(json.loads(line), module, threads, state)), file=answers, flush=True
        )


def answer(
    command: dict[str, Any], module: Any, threads: int, state: dict[str, Any]
) -> dict[str, Any]:
    """Does one command."""
    from benchmarks.peers import UnsupportedError
    from benchmarks.workload import load_suite

    if "prepare" in command:
        workload = next(w for w in load_suite() if w.name == command["prepare"])
        state.update(workload=workload, operation=command["operation"])
        try:
            state["call"] = module.make(workload, command["operation"], threads)
            state["call"]()
        except (UnsupportedError, ImportError) as error:
            return {"unsupported": str(error)}
        return {"ok": True}
    if "time" in command:
        return {"seconds": [timed(state["call"]) for _ in range(command["time"])]}
    result = np.asarray(state["call"]())
    if hasattr(module, "to_tensorflow"):
        result = module.to_tensorflow(result, state["workload"], state["operation"])
    np.save(command["result"], result)
    return {"ok": True}


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
