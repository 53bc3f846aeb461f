"""MkDocs' hooks: figures, results and links, while the pages are read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from scripts.pages import figures, links, results

_FIGURE = re.compile(r"^```figure\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RESULTS = "<!-- results -->"
_README = "tree/README.md"


def on_files(files: Files, config: Any) -> Files:
    """Adds what the pages lead to outside docs/."""
    pages = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    try:
        found = links.reached(pages)
    except ValueError as error:
        raise PluginError(str(error)) from error
    for path, text in found.items():
        options = {"abs_src_path": str(links.ROOT / path)} if text is None else {"content": text}
        name = links.page_of(path)
        file = File.generated(config, name, inclusion=InclusionLevel.NOT_IN_NAV, **options)
        file.tree_path = path
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Draws the figures, fills in the results, turns the links."""
    path = getattr(page.file, "tree_path", f"docs/{page.file.src_uri}")
    try:
        markdown = _FIGURE.sub(lambda match: _figure(match[1]), markdown)
    except ValueError as error:
        raise PluginError(f"{path}: {error}") from error
    if _RESULTS in markdown:
        markdown = markdown.replace(_RESULTS, results.site())
    return links.rewrite(path, markdown)


def _figure(text: str) -> str:
    return f'<div class="picture">{figures.draw(text)}</div>'
