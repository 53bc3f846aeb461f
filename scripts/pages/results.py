"""What the pages say about speed, from the committed results: no figure is typed by hand.

python -m scripts.pages.results        # writes the part of README.md between its marks
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import pictures, results, summary
from benchmarks.peers import OURS, PEERS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "results"
README_MARKS = re.compile(r"(<!-- speed -->\n).*?(<!-- end of speed -->)", re.DOTALL)
_COLORS = {
    'fill="white"': 'fill="none"',
    "#222222": "currentColor",
    "#999999": "currentColor",
    "#1f4e9c": "var(--edge0)",  # dark blue, too dark for a dark page
}
_FAINT = ("#dddddd", "#eeeeee")  # lines behind the figures
# The files that hold all workloads; the others take some, for one question each.
_WHOLE_SUITE = ("forward", "gradients")


def committed() -> dict[str, results.Results]:
    """The committed files of figures, by name."""
    return {path.stem: results.read(path) for path in sorted(FOLDER.glob("*.json"))}


def table(cases: list[dict[str, object]]) -> list[str]:
    """The lines of the summary that are ratios of times, as Markdown."""
    found = [
        "| time of the other / time of this op | layers | below 1 | smallest | geometric mean |"
    ]
    found.append("|---|---:|---:|---:|---:|")
    for line in summary.lines(cases):
        if line.each != 1:
            continue
        values = line.ratios.values()
        slower = sum(value < 1 for value in values)
        found.append(
            f"| {line.title} | {len(values)} | {slower} | {min(values):.2f} "
            f"| **{line.geometric_mean:.2f}** |"
        )
    return found


def machine(figures: results.Results) -> str:
    """Date, processor and libraries, in a sentence."""
    own = set(OURS)
    peers = {PEERS[name].library for case in figures.cases for name in case["peers"]} - {
        PEERS[name].library for name in own
    }
    rows = {name for case in figures.cases for name in case["peers"]} - own
    own_machine = (
        f"{figures.date}, {figures.machine.get('cpu', 'unknown')}, "
        f"{figures.machine.get('cpus', '?')} processors"
    )
    if not rows:
        return own_machine
    return f"{own_machine}; beside {len(peers)} libraries in {len(rows)} configurations"


def section(name: str, figures: results.Results) -> str:
    """Everything that a page shows of one file: machine, table, pictures."""
    rows = table(figures.cases)
    parts = [f"### {name}", "", f"{machine(figures)}.", ""]
    parts += [*rows, ""] if len(rows) > 2 else []
    for title, text in pictures.draw(figures).items():
        parts += [f'<div class="picture" id="{name}-{title}">{_themed(text)}</div>', ""]
    return "\n".join(parts)


def site() -> str:
    """All committed files."""
    return "\n".join(section(name, figures) for name, figures in committed().items())


def readme() -> str:
    """README's part: one table over the whole suite, and where it comes from."""
    lines: list[str] = []
    files = committed()
    for name in _WHOLE_SUITE:
        rows = table(files[name].cases)
        lines += rows[2:] if lines else rows
    figures = files[_WHOLE_SUITE[0]]
    names = ", ".join(f"[{name}](benchmarks/results/{name}.md)" for name in files)
    return "\n".join([*lines, "", f"{machine(figures)}. All times: {names}.", ""])


def fill(text: str) -> str:
    """README with its part written again.

    Raises:
      ValueError: if the marks are missing.
    """
    if not README_MARKS.search(text):
        raise ValueError("README.md must have the marks <!-- speed --> and <!-- end of speed -->")
    return README_MARKS.sub(lambda match: match[1] + readme() + match[2], text)


def _themed(picture: str) -> str:
    """On one line, in the colours of the page around it."""
    for old, new in _COLORS.items():
        picture = picture.replace(old, new)
    for old in _FAINT:
        picture = picture.replace(f'"{old}"', '"currentColor" stroke-opacity="0.15"')
    size = re.search(r'width="(\d+)" height="(\d+)"', picture)
    assert size
    box = f'viewBox="0 0 {size[1]} {size[2]}" {size[0]}'
    return re.sub(r"\n\s*", "", picture.replace(size[0], box, 1))


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
