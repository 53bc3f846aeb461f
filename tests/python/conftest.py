"""What the Python tests share: child processes that see the package under test."""

import contextlib
import functools
import os
import pathlib
import subprocess
import sys

import pytest

import conv_transpose_nd

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
    from conv_transpose_nd import _explain  # needs TensorFlow, which not every test does

    measured = functools.lru_cache(_explain.measure_machine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_explain, "measure_machine", measured)
        yield


@pytest.fixture(scope="session")
def stock_models(tmp_path_factory):
    """Written by stock Keras in a process of its own, which has no path to this package."""
    examples = pathlib.Path(__file__).resolve().parents[2] / "examples"
    folder = tmp_path_factory.mktemp("stock")
    environment = child_environment()
    del environment["PYTHONPATH"]
    command = [sys.executable, str(examples / "stock_models.py"), str(folder)]
    subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def accelerated(stock_models, tmp_path_factory):
    """(folder, report by model) of those, rewritten; they are as they were."""
    import accelerate_cases

    folder = tmp_path_factory.mktemp("accelerated")
    before = accelerate_cases.digest(stock_models)
    reports = {}
    for name in accelerate_cases.MODELS:
        reports[name] = conv_transpose_nd.saved_model.accelerate(
            stock_models / name, folder / name, seconds=0.05, report=lambda line: None
        )
    assert accelerate_cases.digest(stock_models) == before
    return folder, reports


@pytest.fixture(scope="session")
def forms(tmp_path_factory):
    """(folder, report): stock calls of all forms, and what they became."""
    import tensorflow as tf
    from accelerate_cases import INPUTS, QUICK, Forms

    folder = tmp_path_factory.mktemp("forms")
    tf.saved_model.save(Forms(), str(folder / "stock"))
    report = conv_transpose_nd.saved_model.accelerate(
        folder / "stock", folder / "ours", inputs=INPUTS, **QUICK
    )
    return folder, report


@pytest.fixture
def shown_progress(monkeypatch):
    """What bars would show in a terminal, of commands that run in this process."""
    shown = []

    @contextlib.contextmanager
    def bar():
        yield lambda done, total, what: shown.append((done, total, what))

    monkeypatch.setattr("conv_transpose_nd.cli._progress.bar", bar)
    return shown
