"""A process that runs one peer. Reads commands as JSON lines, writes one JSON line each.

{"prepare": case}               -> {"ok": true, "peak_bytes": ...} or {"unsupported": why}
                                    or {"absent": why}: not installed
{"time": seconds, "calls": most} -> {"seconds": [...]}
{"result": path}                -> {"ok": true}: the first call's result as a .npy file
{"compare": path}               -> {"difference": ...}: of the first call's result from that file
{"version": true}               -> {"version": ...}
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import signal
import sys
import time
from typing import Any

import numpy as np

# Before a turn that is not this long anyway, one call brings the caches back.
_WARM_BELOW_SECONDS = 0.02


def main(name: str, threads: int) -> None:
    """Serves commands until the input ends."""
    from benchmarks.peers import PEERS

    _die_with_the_parent()
    info = PEERS[name]
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if info.pins:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    # Libraries print to stdout, too: answers go to a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(info)
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


def _die_with_the_parent() -> None:
    """A stopped process would not see that its input has ended. PR_SET_PDEATHSIG is 1."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Worker:
    """One prepared case at a time."""

    def __init__(self, info: Any) -> None:
        self.info = info
        self.call: Any = None
        self.result: Any = None

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Does one command."""
        if "version" in command:
            return {"version": _version(self.info.library)}
        if "prepare" in command:
            return self.prepare(command["prepare"])
        if "time" in command:
            return {"seconds": self.time(command["time"], command["calls"])}
        if "compare" in command:
            from benchmarks.compare import difference

            if not os.path.exists(command["compare"]):
                return {"unsupported": "nothing to compare with: core has no result"}
            oracle = np.load(command["compare"], mmap_mode="r")
            return {"difference": difference(self.array(), oracle)}
        np.save(command["result"], self.array())
        return {"ok": True}

    def prepare(self, value: dict[str, Any]) -> dict[str, Any]:
        """Builds the call, and makes it once."""
        from benchmarks.workload import case_from_json

        self.call = self.result = None
        gc.collect()
        self.case = case_from_json(value)
        try:
            self.module = importlib.import_module(f"benchmarks.peers.{self.info.module}")
            self.call = self.module.make(self.case, self.info.constant)
            before = _reset_peak_memory()
            self.result = self.call()
        except ModuleNotFoundError as error:
            return {"absent": f"{error}; python -m benchmarks.setup installs it"}
        # Whatever a library raises for a case that it lacks: the text says what it was.
        except Exception as error:
            self.call = None
            lines = str(error).strip().splitlines() or [""]
            return {"unsupported": f"{type(error).__name__}: {lines[0][:200]}"}
        facts = self.module.facts(self.case) if hasattr(self.module, "facts") else {}
        return {
            "ok": True,
            "peak_bytes": max(0, _memory("VmHWM") - before),
            **facts,
        }

    def time(self, seconds: float, most: int) -> list[float]:
        """Seconds of each call, for about as long as asked."""
        clock, call, times = time.perf_counter, self.call, []
        self.result = None
        first = clock()
        call()
        end = clock()
        if end - first > _WARM_BELOW_SECONDS:
            times.append(end - first)
        limit = first + seconds
        while len(times) < most and (end < limit or not times):
            start = clock()
            call()
            end = clock()
            times.append(end - start)
        return times

    def array(self) -> np.ndarray:
        """The result as TensorFlow would have it, in float32, or float64 for float64."""
        convert = getattr(self.module, "to_tensorflow", None)
        result = self.result if self.result is not None else self.call()
        array = np.asarray(convert(result, self.case) if convert else result)
        wide = np.float64 if self.case.dtype == "float64" else np.float32
        return np.ascontiguousarray(array.astype(wide, copy=False))


def _version(distribution: str) -> str:
    names = [distribution, f"{distribution}-cpu", distribution.replace("_", "-")]
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "not installed"


def _memory(field: str) -> int:
    """Bytes of a line of /proc/self/status; 0 where there is none."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


def _reset_peak_memory() -> int:
    """Sets the peak to what is resident, and returns that."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return _memory("VmRSS")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
