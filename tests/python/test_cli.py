"""The command line: exit codes, what goes where, and the second way to call it."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from conftest import child_environment

import conv_transpose_nd as ct
from conv_transpose_nd import cli, core
from conv_transpose_nd.cli import bench, demo, main

NAMES = [name for name, _, _ in cli.COMMANDS]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stock transposed convolution."""
    folder = tmp_path_factory.mktemp("stock") / "model"
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 2])])
    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d_transpose(x, tf.ones([3, 3, 5, 2]), [1, 8, 8, 5], 2)

    module.call = call
    tf.saved_model.save(module, str(folder), signatures=call)
    return folder


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
    [
        [],
        ["unknown"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "nan"],
        ["info", "extra"],
        ["explain"],
        ["explain", "1,4,2", "--filter-shape", "3,two,2"],
        ["explain", "1,4,2", "--padding", "1:0:2"],
        ["explain", "1,4,2", "--threads", "0"],
        ["accelerate", "only_one"],
        ["completion", "tcsh"],
    ],
)
def test_a_wrong_call_exits_with_2_and_says_how(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: conv-transpose-nd" in capsys.readouterr().err


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    printed = help_of([], capsys)
    for name in NAMES:
        assert re.search(rf"^ +{name}\s", printed, re.MULTILINE)
    assert cli.EXIT_CODES in printed


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_an_example_that_parses(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = next(module for command, module, _ in cli.COMMANDS if command == name)
    words = shlex.split(module.EXAMPLE)
    assert words[:2] == ["conv-transpose-nd", name]
    words = words[1 : words.index(">")] if ">" in words else words[1:]
    options, rest = cli.make_parser().parse_known_args(words)
    assert options.run == module.run
    printed = help_of([name], capsys)
    if name == "bench":
        assert "python -m benchmarks.run --only dcgan64,unet" in printed
        assert rest == words[1:]
    else:
        assert f"example:\n  {module.EXAMPLE}\n" in printed
        assert rest == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_json(name: str) -> None:
    words = {"accelerate": ["a", "b"], "to-stock": ["a", "b"], "explain": ["a"]}
    words["completion"] = ["bash"]
    if name == "bench":
        from benchmarks.run import make_parser

        assert str(make_parser().parse_args(["--json"]).json) == "-"
    else:
        arguments = [name, *words.get(name, []), "--json"]
        assert cli.make_parser().parse_args(arguments).json is True


def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["running TensorFlow"] == tf.__version__
    assert found["targets"] == core.targets()


def test_explain_as_json_table_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", "1,4,5,2", "--filter-shape", "3,3,4,2", "--strides", "2,3"]
    arguments += ["--padding", "1:0,0:1", "--bias", "--activation", "relu", "--seconds", "0"]
    assert main([*arguments, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["convolutions"]
    same = ct.explain(
        [1, 4, 5, 2],
        [3, 3, 4, 2],
        strides=[2, 3],
        padding=[[1, 0], [0, 1]],
        bias=True,
        activation="relu",
        seconds=0,
    )
    assert one == same.to_dict()["convolutions"][0]
    assert main([*arguments, "--html", str(tmp_path / "page.html")]) == 0
    assert "4x5 -> 8x14" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == same.to_html()


@pytest.mark.usefixtures("machine_measured_once")
def test_explain_a_saved_model(
    saved_model: Path,
    capsys: pytest.CaptureFixture[str],
    shown_progress: list[tuple[float, float | None, str]],
) -> None:
    named = f"x={','.join(map(str, [1, 4, 4, 2]))}"
    arguments = [str(saved_model), "--seconds", "0.01", "--json", "--input-shape", named]
    assert main(["explain", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    (one,) = found["convolutions"]
    assert one["output_shape"] == [1, 8, 8, 5]
    assert one["ours_ms"] > 0 < one["stock_ms"]
    assert found["total"]["rewritable"] == 1
    steps = [what for _, _, what in shown_progress]
    assert steps[0] == "reading"
    assert steps[-1] == "done"
    assert one["name"] in steps


def test_accelerate_and_to_stock_as_json(
    saved_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shown_progress: list[tuple[float, float | None, str]],
) -> None:
    faster, stock = tmp_path / "faster", tmp_path / "stock"
    for command, source, target in (
        ("accelerate", saved_model, faster),
        ("to-stock", faster, stock),
    ):
        arguments = [command, str(source), str(target), "--json", "--seconds", "0"]
        assert main(arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["dst"] == str(target)
        assert [op["rewritten"] for op in found["ops"]] == [True]
        assert found["timings"][0]["before_s"] > 0
        assert shown_progress[0] == (0, None, f"reading {source}")
        assert any(what.startswith("serving_default") for _, _, what in shown_progress)
        shown_progress.clear()


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "no_such_model", "--json"],
        ["explain", "1,4,2", "--filter-shape", "3,2,5"],
        ["explain", "1,4,2", "--filter-shape", "3,2,2", "--seconds", "-1"],
        ["accelerate", "no_such_model", "dst", "--json"],
        ["to-stock", "no_such_model", "dst"],
    ],
)
def test_what_cannot_be_done_exits_with_1_and_says_why(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.match(r"conv-transpose-nd( explain)?: .*(must|got)", printed.err)


def test_without_tensorflow_it_exits_with_2(run_python) -> None:
    done = run_python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "from conv_transpose_nd.cli import main\n"
        "sys.exit(main(['explain', '1,4,2', '--filter-shape', '3,2,2']))",
        check=False,
    )
    assert done.returncode == 2
    assert "needs TensorFlow, which is not installed" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGPIPE, 141)]
)
def test_an_interrupted_command_says_so(number: int, code: int) -> None:
    """Its loop starts by printing; then it is interrupted, or its reader has gone."""
    source = (
        "import sys, time\n"
        "sys.modules['tensorflow'] = None\n"
        "from conv_transpose_nd.cli import info, main\n"
        "def run(options):\n"
        "    while True:\n"
        "        print('running', flush=True)\n"
        "        time.sleep(0.01)\n"
        "info.run = run\n"
        "sys.exit(main(['info']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A shell starts what runs in the background with SIGINT ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"running\n"
        if number == signal.SIGPIPE:
            process.stdout.close()
        else:
            process.send_signal(number)
        assert process.wait(timeout=60) == code
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


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
    assert main(["bench", "--help"]) == 0
    assert f"example:\n  {bench.EXAMPLE}\n" in capsys.readouterr().out


def in_terminal(arguments: list[str], until: str, seconds: float = 120) -> str:
    """What a command prints to a terminal, up to a text."""
    pid, master = os.forkpty()
    if pid == 0:
        os.environ.update(child_environment(TERM="xterm", COLUMNS="100"))
        os.execvp(arguments[0], arguments)
    printed = b""
    end = time.monotonic() + seconds
    try:
        while until.encode() not in printed and time.monotonic() < end:
            printed += os.read(master, 4096)
    except OSError:
        pass  # the other side has closed it
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(master)
    return printed.decode(errors="replace")


SLOW = (
    "import sys, time\n"
    "sys.modules['tensorflow'] = None\n"
    "from conv_transpose_nd.cli import _progress\n"
    "with _progress.bar() as update:\n"
    "    for i in range(4):\n"
    "        update(i, 4, f'step {i}')\n"
    "        time.sleep(0.2)\n"
    "print('end')"
)


def test_a_bar_is_shown_in_a_terminal_only() -> None:
    pytest.importorskip("rich", reason="bars need rich")
    shown = in_terminal([sys.executable, "-c", SLOW], "end")
    assert "step 1" in shown
    assert "\x1b[" in shown
    done = subprocess.run(
        [sys.executable, "-c", SLOW], capture_output=True, env=child_environment(), check=True
    )
    assert done.stdout == b"end\n"
    assert b"step" not in done.stderr
