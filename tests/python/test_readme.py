"""README: the example runs as printed, every cell of the table is true, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import supported
import supported_elsewhere
import tensorflow as tf
from benchmarks import results
from benchmarks.peers import PEERS

import conv_transpose_nd as ct

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Rows about processes, which have tests of their own below.
PROCESSES = (
    "SavedModel served by a process that loaded only the op library",
    "NumPy arrays without TensorFlow (`ct.core`)",
)
REFUSALS = (ValueError, TypeError, AttributeError, NotImplementedError, tf.errors.OpError)
ELSEWHERE = {"Keras": supported_elsewhere.KERAS, "PyTorch": supported_elsewhere.PYTORCH}
# What oneDNN's column says of these is not a primitive of one call.
ONEDNN_SOURCES = {
    "output_padding, inferred output_shape": "dnnl_deconvolution_forward_primitive_desc_create "
    "takes the description of the output",
    "gradients of first, second and third order": "benchmarks/results/gradients.json",
}


def tables() -> list[list[list[str]]]:
    """The tables with a column "this op": rows of cells, the head first, no line of dashes."""
    found = re.findall(r"(?:^\|.*\|\n)+", README, re.MULTILINE)
    split = [[line.strip("| ").split(" | ") for line in text.splitlines()] for text in found]
    heads = [("this op" in rows[0], rows) for rows in split]
    return [[rows[0], *rows[2:]] for has, rows in heads if has]


def column(name: str) -> dict[str, str]:
    """The cells of one library, of all tables that have it."""
    cells: dict[str, str] = {}
    for head, *rows in tables():
        if name in head:
            place = head.index(name) - len(head)  # the first column's head may be empty
            cells |= {row[0]: row[place] for row in rows}
    return cells


def table() -> dict[str, tuple[str, str]]:
    """This op's and tf.nn's cells."""
    ours, stock = column("this op"), column("`tf.nn`")
    assert list(ours) == list(stock)
    return {row: (ours[row], stock[row]) for row in ours}


def holds(cell: str, ours: bool, row: str) -> None:
    call = supported.ROWS[row]
    check(cell, lambda dtype: call(ours, getattr(tf, dtype)))


def check(cell: str, call) -> None:
    """Calls in float32 and float64, and compares with what the cell says."""
    if cell == "yes":
        call("float32")
        call("float64")
    elif cell in ("no", "not in float64"):
        with pytest.raises(REFUSALS):
            call("float64" if cell == "not in float64" else "float32")
    else:
        pytest.fail(f"no test knows the cell {cell!r}")


def test_the_tables_have_exactly_the_tested_rows() -> None:
    assert list(table()) == [
        *list(supported.ROWS)[:-2],
        *PROCESSES,
        *list(supported.ROWS)[-2:],
    ]
    for rows in ELSEWHERE.values():
        assert list(rows) == list(column("Keras"))


@pytest.mark.parametrize("row", supported_elsewhere.KERAS)
def test_the_cells_of_keras(row: str) -> None:
    check(column("Keras")[row], supported_elsewhere.KERAS[row])


@pytest.mark.parametrize("row", supported_elsewhere.PYTORCH)
def test_the_cells_of_pytorch(row: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    check(column("PyTorch")[row], supported_elsewhere.PYTORCH[row])


def test_the_cells_of_onednn() -> None:
    cells = column("oneDNN")
    python = ROOT / PEERS["onednn_gomp"].python()
    if not python.is_relative_to(ROOT / "build" / "peers"):
        pytest.skip("oneDNN is not installed: make bench-peers")
    program = ROOT / "tests" / "python" / "onednn_support.py"
    done = subprocess.run(
        [python, program], capture_output=True, text=True, check=True, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    assert found.pop("float64") == "no"
    assert found.pop("bfloat16, float32") == "yes"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    assert found.pop("half") == ("yes" if "avx512_fp16" in flags else "no")
    assert cells.pop("half, bfloat16, float32, float64") == "not in float64"
    assert found == {row: cell for row, cell in cells.items() if row not in ONEDNN_SOURCES}


def test_gradients_of_onednn_are_in_the_committed_results() -> None:
    assert column("oneDNN")["gradients of first, second and third order"] == "first"
    for operation in ("input_grad", "filter_grad"):
        cases = results.read(ROOT / "benchmarks" / "results" / "gradients.json").cases
        rows = [c["peers"].get("onednn_gomp", {}) for c in cases if c["operation"] == operation]
        assert any(row.get("equal") for row in rows)


@pytest.mark.parametrize("row", supported.ROWS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_cells_of_the_table(row: str) -> None:
    ours, stock = table()[row]
    holds(ours, True, row)
    holds(stock, False, row)


def test_a_wrong_cell_is_found() -> None:
    with pytest.raises(pytest.fail.Exception):
        holds("no", True, "1 to 3 spatial axes")
    with pytest.raises(pytest.fail.Exception):
        holds("mostly", True, "1 to 3 spatial axes")
    with pytest.raises(ValueError, match="length 3, 4 or 5"):
        holds("yes", False, "4 to 6 spatial axes")


def test_saved_models_run_with_the_library_alone(run_python, tmp_path: Path) -> None:
    assert table()[PROCESSES[0]] == ("yes", "yes")
    for ours in (True, False):
        module = tf.Module()
        module.run = tf.function(lambda ours=ours: supported._dense(ours, tf.float32, 2))
        module.run.get_concrete_function()
        tf.saved_model.save(module, str(tmp_path / str(ours)))
        done = run_python(
            "import sys, tensorflow as tf\n"
            "tf.load_op_library(sys.argv[1])\n"
            "print(tf.saved_model.load(sys.argv[2]).run().shape)\n"
            "assert 'conv_transpose_nd' not in sys.modules",
            ct.sysconfig.get_lib(),
            tmp_path / str(ours),
        )
        assert done.stdout.strip() == "(1, 10, 10, 4)"


def test_the_numpy_module_needs_no_tensorflow(run_python) -> None:
    assert table()[PROCESSES[1]] == ("yes", "no")
    done = run_python(
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import numpy as np\n"
        "from conv_transpose_nd import core\n"
        "x = np.array([[[1.0], [2.0]]], 'f4')\n"
        "print(core.conv_transpose(x, np.ones((2, 1, 1), 'f4'), strides=2).ravel().tolist())"
    )
    assert done.stdout.strip() == "[1.0, 1.0, 2.0, 2.0]"


def test_the_example_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) == 10
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    comment = example.rstrip().splitlines()[-1].partition("# ")[2]
    assert capsys.readouterr().out.strip() == comment
    assert np.all(np.isfinite(names["output"]))


def test_the_two_commands_come_first_and_exist() -> None:
    (first, *_) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    assert README.index("```sh") < README.index("\n## ")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo", "test"} <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_links_within_the_tree_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        assert [link for link in links if not (ROOT / link).exists()] == []


def test_files_that_the_documents_name_exist() -> None:
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"\b(?:cc|tests|python|benchmarks)/[\w./-]+\w", text)
    exact = [path for path in paths if Path(path).suffix and "*" not in path]
    assert exact
    assert [path for path in exact if not (ROOT / path).exists()] == []
