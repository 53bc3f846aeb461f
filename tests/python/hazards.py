"""Runs calls that may end a process, in a child that is started again behind each that does."""

import json
import pathlib
import subprocess
import sys

MODES = ("eager", "static", "dynamic", "core", "python", "python static", "gradient", "nn")
_BEYOND_NN = {"groups", "bias", "output_padding"}
_CHILD = pathlib.Path(__file__).with_name("hazards_child.py")


def modes(call):
    """The modes of hazards_child.py that take `call`; the Python functions take no raw paddings."""
    if "only" in call:
        return call["only"]
    if call["op"] != "transpose" or "explicit_paddings" in call or len(call.get("bias", [])) > 1:
        return MODES[:4] if _fits_core(call) else MODES[:3]
    return MODES[:-1] if _BEYOND_NN & set(call) else MODES


def _fits_core(call):
    """The NumPy module takes pairs in the place of padding's name, and one bias."""
    pads = call.get("explicit_paddings", [])
    explicit = call.get("padding") == "EXPLICIT"
    return len(pads) % 2 == 0 and (explicit or not pads) and len(call.get("bias", [])) < 2


def outcomes(calls, environment):
    """Runs every call in every mode. Returns {(name, mode): {'error', 'message', 'shape', ...}}."""
    results = {}
    pending = [(name, mode) for name, call in calls.items() for mode in modes(call)]
    while pending:
        child = subprocess.run(
            [sys.executable, _CHILD],
            input=json.dumps([(name, mode, calls[name]) for name, mode in pending]),
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        finished = [json.loads(line) for line in child.stdout.splitlines()]
        for name, mode, result in finished:
            results[name, mode] = result
        if len(finished) == len(pending):
            return results
        crash = f"the process ended with status {child.returncode}"
        results[pending[len(finished)]] = {"error": "crash", "message": crash + child.stderr[-400:]}
        pending = pending[len(finished) + 1 :]
    return results
