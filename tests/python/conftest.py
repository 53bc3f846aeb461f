"""What the Python tests share: child processes that see the package under test."""

import functools
import os
import pathlib
import subprocess
import sys

import pytest

import conv_transpose_nd
from conv_transpose_nd import _explain

PACKAGE = pathlib.Path(conv_transpose_nd.__file__).resolve().parent


def child_environment(**extra):
    """This environment, with the package under test and these helpers importable."""
    paths = [str(PACKAGE.parent), str(pathlib.Path(__file__).resolve().parent)]
    inherited = os.environ.get("PYTHONPATH")
    paths += [inherited] if inherited else []
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"} | extra


@pytest.fixture(scope="session")
def run_python():
    """Runs Python code in a new process and returns the completed process; fails on a signal."""

    def run(code, *arguments, check=True, timeout=120, **environment):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=child_environment(**environment),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def machine_measured_once():
    """`explain` measures the machine's limits, for seconds, at its first call only."""
    measured = functools.lru_cache(_explain.measure_machine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_explain, "measure_machine", measured)
        yield
