"""Links that lead out of docs/: what they name becomes a page or a file of the site.

Pages are written for a reader of the tree; the site works where the tree is not at hand.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(\]\()([^)\s:#]+)(#[^)\s]*)?(\))")
_LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".c": "c",
    ".cc": "cpp",
    ".h": "cpp",
    ".sh": "sh",
    ".toml": "toml",
}
_PLAIN = {".pbtxt", ".txt", ""}
_FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1\s*$", re.MULTILINE | re.DOTALL)


def outside(text: str) -> Iterator[re.Match[str]]:
    """The links of a page, those inside fences left out."""
    fences = [match.span() for match in _FENCE.finditer(text)]
    for match in _LINK.finditer(text):
        if not any(start <= match.start() < end for start, end in fences):
            yield match


def tree_path(page: str, link: str) -> str:
    """The path in the tree that a link of a page in the tree names."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def page_of(path: str) -> str:
    """Where the site has a path of the tree, as MkDocs names its sources."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    target = ROOT / path
    if target.is_dir():
        return f"tree/{path}/README.md"
    suffix = target.suffix
    return f"tree/{path}" + (".md" if suffix in _LANGUAGES or suffix in _PLAIN else "")


def content(path: str) -> str | None:
    """The page for a file or folder of the tree; None where the file itself is served."""
    target = ROOT / path
    if target.is_dir():
        names = sorted(p.name for p in target.iterdir() if not p.name.startswith((".", "__")))
        return f"# {path}\n\n" + "\n".join(f"- [{name}]({name})" for name in names) + "\n"
    if target.suffix == ".md":
        return target.read_text(encoding="utf-8")
    if target.suffix not in _LANGUAGES and target.suffix not in _PLAIN:
        return None
    language = _LANGUAGES.get(target.suffix, "text")
    text = target.read_text(encoding="utf-8")
    return f'# {path}\n\n````{language} linenums="1"\n{text.rstrip()}\n````\n'


def reached(pages: dict[str, str]) -> dict[str, str | None]:
    """What `pages` (tree path to text) lead to outside docs/, directly or not, with its content.

    Raises:
      ValueError: if a link leads to what is not in the tree.
    """
    found: dict[str, str | None] = {}
    waiting = list(pages.items())
    while waiting:
        page, text = waiting.pop()
        for match in outside(text):
            path = tree_path(page, match[2])
            if path.startswith("docs/") or path in found:
                continue  # MkDocs checks those
            if path.startswith("..") or not (ROOT / path).exists():
                raise ValueError(f"{page}: the link {match[2]} leads to nothing in the tree")
            found[path] = content(path)
            if found[path] is not None and not path.endswith(tuple(_LANGUAGES)):
                # A folder's list is written as if it lay inside the folder.
                waiting.append((path + "/." if (ROOT / path).is_dir() else path, found[path] or ""))
    return found


def rewrite(page: str, text: str) -> str:
    """A page of the tree with its links as the site has them."""
    source = page + "/." if (ROOT / page).is_dir() else page
    here = posixpath.dirname(page_of(page))
    for match in reversed(list(outside(text))):
        target = posixpath.relpath(page_of(tree_path(source, match[2])), here or ".")
        text = text[: match.start()] + f"]({target}{match[3] or ''})" + text[match.end() :]
    return text
