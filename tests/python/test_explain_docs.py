"""docs/explain.md: its commands run, its examples print what they say, its tables are complete."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from conftest import child_environment

from conv_transpose_nd import cli
from conv_transpose_nd.cli import completion, main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


COMMANDS = [
    line.split(" #")[0].rstrip() for block in blocks("sh") for line in block.splitlines() if line
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, machine_measured_once: None) -> Path:
    """A folder with what the page speaks of: a SavedModel and a .keras file."""
    folder = tmp_path_factory.mktemp("page")
    inputs = keras.Input([None, None, 8])
    outputs = keras.layers.Conv2DTranspose(4, 3, 2, "same", activation="relu")(inputs)
    model = keras.Model(inputs, outputs)
    model.export(str(folder / "model"), verbose=False)
    model.save(folder / "generator.keras")
    return folder


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, and the home."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place / "home"))
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page: some use what those before them have written."""
    if "completion" in command and command.startswith("conv"):
        pytest.importorskip("shtab", reason="completion needs shtab")
    words = shlex.split(command)
    if words[0] != "conv-transpose-nd":
        in_a_shell(command)
        return
    target = None
    if ">" in words:
        target = Path(words[words.index(">") + 1]).expanduser()
        words = words[: words.index(">")]
    if words[1] == "explain" and "--seconds" not in words:
        words += ["--seconds", "0.02"]
    assert main(words[1:]) == 0
    printed = capsys.readouterr().out
    if target is not None:
        target.write_text(printed, encoding="utf-8")
    if "--json" in words:
        json.loads(printed)
    if "--html" in words:
        assert "<h1>model</h1>" in Path("model.html").read_text(encoding="utf-8")
    assert printed


def in_a_shell(command: str) -> None:
    """With the program of this environment; a line of the log is what the page prints."""
    program = f"{shlex.quote(sys.executable)} -m conv_transpose_nd"
    done = subprocess.run(
        command.replace("conv-transpose-nd", program)
        if "CONV_TRANSPOSE_ND_LOG" in command
        else command,
        shell=True,
        capture_output=True,
        text=True,
        env=child_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "CONV_TRANSPOSE_ND_LOG" not in command:
        return
    (example,) = blocks("text")
    (line, *_) = [x for x in done.stderr.splitlines() if x.startswith("conv_transpose_nd: ")]
    fields = re.findall(r"(\w+)=", line)
    assert fields == re.findall(r"(\w+)=", example)
    table = PAGE[PAGE.index("| first word") : PAGE.index("`CONV_TRANSPOSE_ND_TARGET`")]
    documented = re.findall(r"`(\w+)`", table)
    assert set(fields) <= set(documented)
    # What does not depend on the machine.
    for part in (r"conv_transpose_nd: \w+", r"phases=\d+", r"multiply_adds=\S+"):
        assert re.search(part, line).group() == re.search(part, example).group()


def test_examples_print_what_they_say(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    code = "\n".join(blocks("python"))
    file = inside / "example.py"  # tf.function reads the source of what it traces
    file.write_text(code, encoding="utf-8")
    exec(compile(code, str(file), "exec"), names)
    comments = re.findall(r"print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(comments) == len(re.findall(r"\bprint\(", code)) == 4
    assert capsys.readouterr().out.split("\n")[:-1] == comments
    traces = list((inside / "logs").glob("plugins/profile/*/*.xplane.pb"))
    assert len(traces) == 1
    content = traces[0].read_bytes()
    row = re.search(r"\| the type of the op .*\| (.*) \|", PAGE).group(1)
    for key in re.findall(r"`(\w+)`", row):
        assert key.encode() in content


def test_every_exit_code_and_shell_is_named() -> None:
    codes = dict(re.findall(r"^  (\d+) +(.*)$", cli.EXIT_CODES, re.MULTILINE))
    listed = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE))
    assert listed == codes
    for shell in completion.SHELLS:
        assert f"conv-transpose-nd completion {shell} > " in PAGE


def test_every_figure_is_explained() -> None:
    for word in ("plan", "FLOPs", "bytes", "bound", "this op, stock", "accelerate"):
        assert f"\n| {word} |" in PAGE
