"""Every command of the documents is run by a test, or listed here with the reason why not.

Commands are the lines of shell blocks, and what stands between backticks and starts with the name
of a program. A new one fails here until it is in one of the lists below.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import keras
import pytest
from benchmarks import run as benchmark

from conv_transpose_nd import cli

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = "make|conv-transpose-nd|python3?|pip|ctest|cmake|pre-commit|bazel"

# Run here, in this order, in a folder that holds the SavedModel `model`.
HERE = (
    "conv-transpose-nd info",
    "conv-transpose-nd accelerate model faster",
    "conv-transpose-nd to-stock faster portable",
    "conv-transpose-nd bench --help",
)
# Lines of .ci/run, which runs them as they are.
CI = ("make test", "make fuzz FUZZ_SEED=1", "make docs", "make lint")
# Run by a test of their own, perhaps with a smaller task: pattern, file.
ELSEWHERE = {
    "make demo": "tests/python/test_demo.py",
    "make sbom": "tests/python/test_supply_chain.py",
    "conv-transpose-nd demo.*": "tests/python/test_demo.py",
    "conv-transpose-nd (explain|completion).*": "tests/python/test_explain_docs.py",
    "conv-transpose-nd (accelerate|to-stock) [A-Z]+ [A-Z]+": (
        "tests/python/test_saved_model_accelerate.py"
    ),
    r"python scripts/load\.py .*": "tests/python/test_under_load.py",
    r"python examples/NAME\.py": "tests/python/test_examples.py",
    r"python examples/batch_inference\.py .*": "tests/python/test_under_load.py",
    r"python -m conv_transpose_nd": "tests/python/test_cli.py",
    r"python -m scripts\.pages\.results": "tests/python/test_docs.py",
    r"python tests/python/numerics\.py .*": "tests/python/test_numerics.py",
}
# Not run where the tests run: pattern, reason. Those of `make` are still resolved, and the options
# of the benchmark still read.
NOT_RUN = {
    r"make bench( .*)?": "measures for minutes; a machine that does nothing else",
    r"conv-transpose-nd bench( .*)?": "measures for minutes; a machine that does nothing else",
    r"python -m benchmarks\.run": "measures for minutes; test_benchmarks.py runs a small case",
    "make bench-peers": "installs 4 GB of other libraries",
    r"make fuzz( FUZZ_SECONDS=\d+)?": "minutes to hours; .ci/run fuzzes for one minute",
    "make (format|clean)": "changes or removes files of the tree",
    "make tidy": "a part of make lint",
    "make test .*PYTHON=.*": "needs another Python; make test runs with the one that is there",
    r"CONV_TRANSPOSE_ND_TARGET=\w+ make test-python": "all Python tests once more; "
    "test_determinism.py and the C++ tests force each instruction set",
    r"(\.venv/bin/)?python -m pytest .*": "a part of make test",
    r"(CONV_TRANSPOSE_ND_LARGE=1 )?pytest .*": "needs 24 GB of memory, or is a part of make test",
    r"ctest --test-dir build/make .*": "a part of make test",
    r"make sanitize( SANITIZER=TSAN)?": "two jobs of the workflow, ten minutes each",
    r"valgrind .*": "needs Valgrind, and minutes",
    r"""options='.*|arm=['"].*|cmake .*\barm\b.*""": "needs Debian's cross compiler and emulator, "
    "and minutes",
    r"pip install (--no-build-isolation )?\.": "what make does in .venv before it tests",
    r'pip install "tensorflow>=.*': "what make does in .venv before it builds",
    r"pip install (torch|nvidia-cuda-nvrtc-cu12==[\d.]+)": "hundreds of MB, for checks beside",
    r"pip install .*\[\w+\].*": "needs the package on an index",
    "pre-commit install": "changes the hooks of the repository; it runs what make lint does",
    r"python scripts/release\.py .*": "needs environments of several TensorFlow versions",
    "cmake --build build/dev --target conv_transpose_nd_gpu": "compiles the device code once more; "
    "gpu_c_api_test is built from the same sources",
    r"python scripts/gpu_check\.py .*": "needs a GPU",
    r"python scripts/gpu[\w/]*\.py.*": "needs a GPU",
    r"LD_LIBRARY_PATH=\S+ python scripts/gpu_check\.py --emulated.*": "needs PyTorch, which is no "
    "test dependency; gpu_c_api_test takes the same path",
    r"bazel build .*": "TensorFlow Serving: not run, as the page says",
}


def commands(text: str) -> list[str]:
    """The commands of a page, without comments, each on one line."""
    found = []
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        found += [re.sub(r"\s+#.*", "", line) for line in lines]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(rf"`((?:\w+=\S+ )?(?:{PROGRAMS}) [^`]+)`", outside)
    return [" ".join(command.split()) for command in found if command.strip(" #")]


# Its test runs each of its shell blocks.
EXPLAIN = ROOT / "docs" / "explain.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FOUND = {command: page for page in PAGES for command in commands(page.read_text(encoding="utf-8"))}
BLOCKS = re.findall(r"^```sh\n.*?^```", EXPLAIN.read_text(encoding="utf-8"), re.M | re.S)
RUN_BY_EXPLAIN = set(commands("\n".join(BLOCKS)))


def place(command: str) -> str | None:
    """Which list a command is in."""
    if command in HERE:
        return "here"
    if command in CI:
        return "ci"
    if command in RUN_BY_EXPLAIN:
        return "elsewhere"
    for name, patterns in (("elsewhere", ELSEWHERE), ("not run", NOT_RUN)):
        if any(re.fullmatch(pattern, command) for pattern in patterns):
            return name
    return None


def test_every_command_is_run_or_listed() -> None:
    missing = [f"{page.name}: {c}" for c, page in FOUND.items() if place(c) is None]
    assert missing == [], "run it in a test and name that in ELSEWHERE, or say why not in NOT_RUN"


def test_an_unlisted_command_is_found() -> None:
    text = "```sh\nmake \\\n  tea  # with milk\n\n```\n`python tea.py --milk`, `python`\n"
    assert commands(text) == ["make tea", "python tea.py --milk"]
    assert [place(command) for command in commands(text)] == [None, None]


def test_the_lists_name_what_exists() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert set(CI) <= set(ci)
    assert [file for file in ELSEWHERE.values() if not (ROOT / file).exists()] == []
    assert [command for command in HERE if command not in FOUND] == []


@pytest.mark.parametrize("command", [c for c in FOUND if re.match(r"(\w+=\S+ )?make\b", c)])
def test_targets_of_make_exist(command: str) -> None:
    """As `make --dry-run` resolves them."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    words = shlex.split(command)
    words = words[words.index("make") + 1 :]
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


MEASURED = [c for c in FOUND if c.startswith("conv-transpose-nd bench -") and c not in HERE]


@pytest.mark.parametrize("command", MEASURED)
def test_options_of_the_benchmark_are_read(command: str) -> None:
    assert benchmark._parse(shlex.split(command)[2:]).turns > 0


def test_commands_run(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input([4, 4, 2]), keras.layers.Conv2DTranspose(2, 2, 2)])
    model.export("model", verbose=False)
    for command in HERE:
        try:
            code = cli.main(shlex.split(command)[1:])
        except SystemExit as end:  # --help
            code = end.code
        assert code in (0, None), command
        assert capfd.readouterr().out, command
    assert (tmp_path / "portable" / "saved_model.pb").exists()
