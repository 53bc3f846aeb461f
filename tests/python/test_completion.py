"""Completion in shells: a real bash with a real TAB, and scripts that the other shells accept."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conv_transpose_nd import cli
from conv_transpose_nd.cli import completion, main

pytest.importorskip("shtab", reason="scripts need shtab: pip install shtab")
NAMES = [name for name, _, _ in cli.COMMANDS]


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "completion.bash"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return path


class Bash:
    """An interactive bash on a terminal."""

    def __init__(self, folder: Path, script: Path) -> None:
        self.pid, self.master = os.forkpty()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="dumb", HISTFILE="/dev/null", INPUTRC="/dev/null")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.calls = 0
        self.run(f"bind 'set show-all-if-ambiguous on'; source {script}")

    def run(self, line: str) -> None:
        """Waits for what the line prints last; the echo of the line itself reads otherwise."""
        self.calls += 1
        self.write(f"{line}; echo done$(({self.calls} + 0))\n")
        assert f"done{self.calls}" in self.read(f"done{self.calls}")

    def write(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read(self, until: str, seconds: float = 20) -> str:
        """What is shown, up to `until`, or for as long as given."""
        shown, end = b"", time.monotonic() + seconds
        while until.encode() not in shown and time.monotonic() < end:
            if select.select([self.master], [], [], max(0.0, end - time.monotonic()))[0]:
                shown += os.read(self.master, 4096)
        return shown.decode(errors="replace")

    def complete(self, typed: str, until: str) -> str:
        """What is shown after a line and a TAB; the line is then given up."""
        self.write(typed + "\t")
        shown = self.read(until)
        self.write("\x15")  # erases the line
        self.run(":")
        return shown

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "generator.keras").touch()
    bash = Bash(tmp_path, script)
    try:
        assert "explain" in bash.complete("conv-transpose-nd expl", "explain")
        assert "--strides" in bash.complete("conv-transpose-nd explain --str", "--strides")
        assert "--freeze" in bash.complete("conv-transpose-nd accelerate --fr", "--freeze")
        assert "--constant-filter" in bash.complete("conv-transpose-nd bench --con", "-filter")
        assert "generator.keras" in bash.complete(
            "conv-transpose-nd explain gen", "generator.keras"
        )
        listed = bash.complete("conv-transpose-nd completion ", "zsh")
        assert {"bash", "fish", "zsh"} <= set(re.findall(r"\w+", listed))
    finally:
        bash.close()


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_scripts_name_every_command_and_parse(shell: str, tmp_path: Path) -> None:
    text = completion.script(shell)
    assert all(name in text for name in NAMES)
    assert "input-shape" in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text, encoding="utf-8")
        option = "--no-execute" if shell == "fish" else "-n"
        subprocess.run([shell, option, str(tmp_path / "script")], check=True)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"shell": "fish", "script": completion.script("fish")}


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["completion", "bash"]) == 2
    assert "needs shtab: pip install 'conv-transpose-nd[cli]'" in capsys.readouterr().err
