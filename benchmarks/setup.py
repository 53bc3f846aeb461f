"""Installs the peers, each into a virtual environment of its own: build/peers/NAME.

    python -m benchmarks.setup              # all
    python -m benchmarks.setup jax openvino # only these

TensorFlow is that of the environment that runs the benchmark; PyTorch, too, if it is there.
A peer that cannot be installed is named, and reported as absent by the benchmark.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import venv
from collections.abc import Sequence

from benchmarks.peers import FOLDER, PEERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns 1 if a peer could not be installed."""
    known = {info.module: info.requirements for info in PEERS.values() if info.requirements}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.setup", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    options = parser.parse_args(arguments)
    names = options.names or list(known)
    for name in names:
        if name not in known:
            parser.error(f"name must be one of {', '.join(known)}; got {name!r}")
    failed = [name for name in names if not install(name, known[name])]
    if failed:
        print(f"not installed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def install(name: str, requirements: tuple[str, ...]) -> bool:
    """Creates or completes one environment; True if everything is there."""
    if name == "pytorch" and importlib.util.find_spec("torch"):
        print(f"{name}: that of this environment")
        return True
    folder = FOLDER / name
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", *requirements]
    done = subprocess.run(command, check=False).returncode == 0
    print(f"{name}: {'installed' if done else 'failed'}")
    return done


if __name__ == "__main__":
    sys.exit(main())
