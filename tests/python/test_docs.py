"""docs/*.md: what the pages print, compare, draw and name is so. `make docs` checks their links."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scripts.pages import arithmetic, figures, links, results

import conv_transpose_nd as ct
from conv_transpose_nd import core

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \|$", re.MULTILINE)
# Pages of tests of their own.
ELSEWHERE = {"explain.md"}
PAGES = sorted(
    p.name
    for p in DOCS.glob("*.md")
    if p.name not in ELSEWHERE and BLOCK.search(p.read_text(encoding="utf-8"))
)


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def run(page, folder, names):
    """Runs the blocks of a page, or of a part of it, in one namespace."""
    for number, block in enumerate(BLOCK.findall(page)):
        file = folder / f"block{number}.py"  # tf.function reads the source of what it traces
        file.write_text(block, encoding="utf-8")
        exec(compile(block, str(file), "exec"), names)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_blocks_print_what_they_say(name, capsys, monkeypatch, tmp_path):
    page = text(name)
    monkeypatch.chdir(tmp_path)  # where some write models
    run(page, tmp_path, {"__name__": "page"})
    said = [
        match[1] or match[2]
        for block in BLOCK.findall(page)
        for match in re.finditer(r"^.*\bprint\(.*\)  # (.*)$|^# (.*)$", block, re.MULTILINE)
    ]
    assert " ".join(capsys.readouterr().out.split()) == " ".join(" ".join(said).split())


def test_every_question_names_its_threads_and_shows_code():
    *answered, last = re.split(r"^## ", text("faq.md"), flags=re.MULTILINE)[1:]
    assert last.startswith("Not answered")
    for question in answered:
        thread = re.search(r"\]\(https://github\.com/[\w./-]+/(issues|pull)/\d+\)", question)
        assert thread, question
        assert BLOCK.search(question), question


def test_tables_are_whole():
    """A row behind an empty line is text."""
    for page in sorted(DOCS.rglob("*.md")):
        for table in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(r"\n\|[ :|-]+\|\n", "\n" + table), f"{page.name}: {table[:80]}"


def section(title):
    """The part of the page on migrating under a heading, and its rows."""
    (part,) = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", text("migrating.md"), re.M | re.S)
    return part, ROW.findall(part)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the rows of the page on migrating are written with."""
    found = {}
    page = text("migrating.md").partition("## ONNX")[0]
    run(page, tmp_path_factory.mktemp("blocks"), found)
    return found


def value(line, names):
    return np.asarray(eval(line, dict(names)))


@pytest.mark.parametrize("title", ["tf.nn", "Keras"])
def test_both_sides_of_a_row_are_equal(title, names):
    rows = section(re.escape(title))[1]
    assert len(rows) > 5
    for theirs, ours in rows:
        stock, result = value(theirs, names), value(ours, names)
        assert stock.shape == result.shape, ours
        # At most 54 terms of normal operands.
        np.testing.assert_allclose(result, stock, atol=1e-4, err_msg=ours)


def test_layers_of_tensorflow_1(names):
    rows = section(r"tf\.layers")[1]
    assert len(rows) == 3
    for theirs, ours in rows:
        with tf.Graph().as_default():
            local = names | {n: tf.constant(names[n]) for n in ("x", "x3")}
            with pytest.raises((AttributeError, ValueError, NotImplementedError)):
                eval(theirs, local)
            assert eval(ours, local).shape[0] == 2


def test_rows_of_pytorch_run_and_agree(names):
    rows = section("PyTorch")[1]
    assert len(rows) > 5
    shapes = [value(ours, names).shape for _, ours in rows]
    assert all(shape[0] == 2 and len(shape) in (3, 4) for shape in shapes)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: only our side was run")
    local = names | {n: torch.tensor(names[n]) for n in ("t", "v", "b", "v1d", "grouped")}
    for theirs, ours in rows:
        stock = eval(theirs, local | {"F": torch.nn.functional})
        np.testing.assert_allclose(value(ours, names), stock.numpy(), atol=1e-4, err_msg=ours)


FIGURES = re.findall(r"^```figure\n(.*?)^```$", text("index.md") + text("geometry.md"), re.M | re.S)


@pytest.mark.parametrize("block", FIGURES, ids=lambda block: block.strip())
def test_figures_show_what_the_op_computes(block):
    """One input position and one tap at a time: the products of every output position."""
    _, axis = arithmetic.parse(block)
    options = {
        "strides": axis.stride,
        "padding": [axis.padding],
        "dilations": axis.dilation,
        "output_padding": axis.output_padding,
    }
    found = {o: [] for o in range(axis.output_length)}
    for i, k in itertools.product(range(axis.n), range(axis.k)):
        x, w = np.zeros([1, axis.n, 1], "f"), np.zeros([axis.k, 1, 1], "f")
        x[0, i], w[k] = 1, 1
        y = core.conv_transpose(x, w, **options)[0, :, 0]
        assert len(y) == axis.output_length
        for o in np.flatnonzero(y):
            found[int(o)].append((i, k))
    assert found == {o: sorted(axis.products(o)) for o in found}


def test_figures_are_all_different_cases():
    axes = [arithmetic.parse(block)[1] for block in FIGURES]
    assert any(a.stride > a.k for a in axes)
    assert any(a.dilation > 1 and a.stride > 1 for a in axes)
    assert any(a.output_padding for a in axes)
    assert any(a.padding[0] != a.padding[1] for a in axes)
    # Phases repeat their colours only beyond the colours that there are.
    assert all(a.stride <= figures.PHASES for a in axes)


@pytest.mark.parametrize("block", ["n=3 k", "n=3 k=2 size=1", "kind=cube n=1 k=1"])
def test_a_wrong_figure_is_an_error(block):
    with pytest.raises(ValueError):  # noqa: PT011  int() words one of them
        figures.draw(block)


def test_readme_quotes_the_committed_results():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert results.fill(readme) == readme, "run: python -m scripts.pages.results"


def test_every_public_name_has_an_api_page():
    pages = " ".join(p.read_text(encoding="utf-8") for p in (DOCS / "api").glob("*.md"))
    described = set(re.findall(r"^::: conv_transpose_nd\.([\w.]+)", pages, re.MULTILINE))
    last = {name.split(".")[-1] for name in described}
    assert [name for name in ct.__all__ if name not in last | {"compat", "keras"}] == []
    for part in ("nn", "layers"):
        assert f"compat.v1.{part}" in described
    for part in ("ops", "layers", "initializers"):
        assert f"keras.{part}" in described


def test_a_broken_link_is_found():
    with pytest.raises(ValueError, match="leads to nothing"):
        links.reached({"docs/a.md": "[b](../no/such/file.py)"})
    found = links.reached({"docs/a.md": "[b](../SECURITY.md) ```x``` [c](geometry.md)"})
    assert "SECURITY.md" in found
    assert links.rewrite("docs/a.md", "[b](../Makefile)") == "[b](tree/Makefile.md)"
    assert links.rewrite("SECURITY.md", "[b](docs/geometry.md#a)") == "[b](../geometry.md#a)"


def test_warnings_of_the_pages_are_errors():
    """With --quiet, MkDocs would count no warning and --strict find nothing."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"mkdocs build.*", makefile)
    assert recipe.split() == ["mkdocs", "build", "--strict"]
    assert "make docs" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_files_that_the_pages_name_exist():
    for page in sorted(DOCS.rglob("*.md")):
        found = re.findall(
            r"\b(?:cc|tests|python|benchmarks|examples|scripts|cmake)/[\w./-]+\w",
            page.read_text(encoding="utf-8"),
        )
        exact = [path for path in found if Path(path).suffix and not path.endswith("NAME.py")]
        assert [path for path in exact if not (ROOT / path).exists()] == [], page.name


def test_the_page_of_the_numpy_module_names_all_of_it():
    stub = (ROOT / "python" / "conv_transpose_nd" / "core.pyi").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text("api/core.md")))
    assert set(re.findall(r"^def (\w+)", stub, re.MULTILINE)) <= named
