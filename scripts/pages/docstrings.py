"""Griffe's extension: this project's docstrings in the words that Griffe and Markdown know."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Sections(griffe.Extension):
    """`Example:` holds doctest lines, which only `Examples:` shows as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Renames that section, and keeps a range at the start of a text from being a quotation."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"^( +\**\w+: )>", r"\1\\>", text, flags=re.MULTILINE)
