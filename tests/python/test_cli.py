"""The command line: exit codes, what goes where, and the second way to call it."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import conv_transpose_nd as ct
from conv_transpose_nd import core
from conv_transpose_nd.cli import bench, demo, main


def test_info_prints_the_versions_and_the_cpu_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    ct.show_versions()
    assert printed.startswith(capsys.readouterr().out)
    assert ", ".join(core.targets()) in printed


def test_module_and_console_script_are_the_same_command() -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [sys.executable, "-m", "conv_transpose_nd", "info"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "running TensorFlow" in process.stdout
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    (target,) = re.findall(r'^conv-transpose-nd = "([^"]+)"', text, re.MULTILINE)
    assert pkgutil.resolve_name(target) is main


@pytest.mark.parametrize(
    "arguments",
    [[], ["unknown"], ["demo", "--seconds", "0"], ["demo", "--seconds", "nan"], ["info", "extra"]],
)
def test_a_wrong_call_exits_with_2_and_says_how(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: conv-transpose-nd" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "info" in printed
    assert "demo" in printed


def test_demo_names_the_missing_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_NEEDS", ("json", "no_such_package"))
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert "needs no_such_package: pip install 'conv-transpose-nd[demo]'" in error
    assert "json" not in error


def test_bench_passes_its_options_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--only", "no_such_workload", "--peers", "core"])
    assert stop.value.code == 2
    assert "--only must match a workload's name, got 'no_such_workload'" in capsys.readouterr().err


def test_bench_says_where_the_benchmark_lies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "find_source", lambda folders: None)
    assert main(["bench"]) == 2
    assert "the benchmark is in the source tree, in benchmarks/" in capsys.readouterr().err
