"""docs/interfaces: every page has one example, which prints what its comments say."""

import re
import runpy
from pathlib import Path

import pytest
import tensorflow as tf

import conv_transpose_nd as ct

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "interfaces"
PAGES = {page.stem: page for page in sorted(FOLDER.glob("*.md")) if page.name != "README.md"}


def example(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1, f"{page} must have one example, has {len(blocks)}"
    return blocks[0]


@pytest.mark.parametrize("name", PAGES)
def test_it_prints_what_it_says(name, capsys, tmp_path):
    code = example(PAGES[name])
    before = tf.nn.conv2d_transpose
    file = tmp_path / f"{name}.py"  # tf.function reads the source of what it traces
    file.write_text(code, encoding="utf-8")
    runpy.run_path(str(file))
    assert tf.nn.conv2d_transpose is before
    comments = re.findall(r"print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(comments) == len(re.findall(r"\bprint\(", code)) > 0
    printed = capsys.readouterr().out.split()
    assert " ".join(printed) == " ".join(" ".join(comments).split())


def test_every_interface_has_a_page():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\]\((.*?)\.md\)", text)
    assert sorted(listed) == sorted(PAGES)
    assert len(PAGES) == 9


def test_the_pages_name_what_exists():
    """Every `ct.something` in the text, fences and tables included, is there."""
    for page in (*PAGES.values(), FOLDER / "README.md"):
        for path in set(re.findall(r"\bct((?:\.\w+)+)", page.read_text(encoding="utf-8"))):
            value = ct
            for part in path[1:].split("."):
                assert hasattr(value, part), f"{page.name}: ct{path}"
                value = getattr(value, part)
